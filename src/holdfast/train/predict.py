"""What a finished run's network says of pictures without labels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from holdfast.data.augment import EvalTransform, TenCrop, eval_side
from holdfast.data.cache import read_resized
from holdfast.data.decode import UnreadableImageError, quiet_pillow
from holdfast.data.frame import Side, side_of
from holdfast.data.index import Skipped
from holdfast.data.walk import Tree
from holdfast.train.evaluate import predict_batches, top_classes
from holdfast.train.loaded import LoadedRun, device_named

AT_ONCE = 32
"""Pictures that are held in memory together."""


@dataclass(frozen=True)
class Prediction:
    """What the network says of one picture.

    Attributes:
        path: as it was given, or below the folder that was given.
        top: the most probable classes with their probabilities, best first.
    """

    path: str
    top: list[tuple[str, float]]


def predict(run: LoadedRun, files: Iterable[Path], *, device: str = "auto") -> Iterator[Prediction | Skipped]:
    """Predictions for files and for all files below folders, in order, as they are made.

    Args:
        run: the network with its preprocessing.
        files: pictures and folders of pictures; hidden files below a folder are passed over.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Yields:
        a prediction for each picture, and what could not be read with the reason.

    Raises:
        UsageError: no such device here.
    """
    where, p = device_named(device), run.preprocessing
    side = side_of(eval_side(p.size, p.crop), p.fit)
    crop = TenCrop(p.size, p.crop) if p.ten_crop else EvalTransform(p.size, p.crop)
    model = run.model.to(where)
    for group in _groups(_listed(files)):
        pictures = read_pictures(group, side)
        crops = [crop(picture) for picture in pictures if isinstance(picture, Tensor)]
        log_p = predict_batches(model, [(torch.stack(crops),)], p, where) if crops else torch.empty(0)
        tops = iter(top_classes(log_p, run.classes) if crops else [])
        for path, picture in zip(group, pictures, strict=True):
            yield Prediction(str(path), next(tops)) if isinstance(picture, Tensor) else Skipped(str(path), picture)


def _listed(files: Iterable[Path]) -> Iterator[Path]:
    for file in files:
        if file.is_dir():
            tree = Tree(file)
            yield from (file / path for path in tree.files(""))
            yield from (file / entry.path for entry in tree.skipped)  # reading them gives the reason again
        else:
            yield file


def _groups(files: Iterator[Path]) -> Iterator[list[Path]]:
    while group := list(islice(files, AT_ONCE)):
        yield group


def read_pictures(files: list[Path], side: Side) -> list[Tensor | str]:
    """The pictures with this shorter side, or why there is none."""

    def read(file: Path) -> Tensor | str:
        try:
            return read_resized(file, side)
        except UnreadableImageError as error:
            return error.reason

    with quiet_pillow(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(read, files))
