"""Predictions of a network on labelled pictures, and predictions.csv."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.core.errors import DataError
from holdfast.data.augment import EvalTransform, TenCrop, eval_side, normalise
from holdfast.data.cache import ImageStore
from holdfast.data.examine import Progress
from holdfast.data.frame import side_of
from holdfast.data.index import Sample
from holdfast.data.loader import ImageDataset, batches
from holdfast.models.preprocessing import Preprocessing
from holdfast.train.labelled import Labelled
from holdfast.train.loaded import LoadedRun, device_named
from holdfast.train.metrics import measures

TOP = 5
"""Classes whose probabilities are written down."""


@dataclass(frozen=True)
class Predictions:
    """What a network says of the pictures of one part.

    Attributes:
        part: ``train``, ``val`` or ``test``; empty for pictures that are of no part.
        samples: the pictures, in order.
        log_probabilities: shape (N, K), on the CPU.
    """

    part: str
    samples: Sequence[Sample]
    log_probabilities: Tensor

    def measures(self) -> dict[str, float]:
        """Figures by name, see ``holdfast.train.metrics.measures``."""
        return measures(self.log_probabilities, torch.tensor([s.label for s in self.samples]))


@torch.no_grad()
def predict_batches(
    model: nn.Module, batches: Any, preprocessing: Preprocessing, device: torch.device, precision: str = "32"
) -> Tensor:
    """Log-probabilities of all batches, shape (N, K), on the CPU.

    Ten crops, (B, 10, 3, S, S), are averaged as probabilities.

    Args:
        model: on the device, in evaluation mode.
        batches: yields uint8 pictures first.
        preprocessing: mean and std of the network.
        device: of the model.
        precision: of the run; 16-bit kinds use autocast.
    """
    found = []
    with autocast(device, precision):
        for batch in batches:
            x = normalise(batch[0].to(device, non_blocking=True), preprocessing.mean, preprocessing.std)
            crops = x.shape[1] if x.ndim == 5 else 1
            logits = model(x.flatten(0, 1) if crops > 1 else x).float()
            log_p = logits.log_softmax(1)
            if crops > 1:
                log_p = log_p.unflatten(0, (-1, crops)).logsumexp(1) - math.log(crops)
            found.append(log_p.cpu())
    return torch.cat(found)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """The arithmetic of a run."""
    if precision == "32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)


def top_classes(log_probabilities: Tensor, classes: Sequence[str]) -> list[list[tuple[str, float]]]:
    """The most probable classes of each picture with their probabilities, at most ``TOP``."""
    values, order = log_probabilities.exp().topk(min(TOP, len(classes)), dim=1)
    return [
        [(classes[k], p) for k, p in zip(ks, ps, strict=True)]
        for ks, ps in zip(order.tolist(), values.tolist(), strict=True)
    ]


def columns_of_top(classes: Sequence[str]) -> list[str]:
    """Names of the columns that ``cells_of_top`` fills."""
    ranks = range(1, min(TOP, len(classes)) + 1)
    return ["predicted", "confidence", *(name for rank in ranks for name in (f"class_{rank}", f"probability_{rank}"))]


def cells_of_top(top: Sequence[tuple[str, float]]) -> list[str]:
    """The predicted class with its probability, then all top classes with theirs."""
    return [top[0][0], f"{top[0][1]:.6f}", *(cell for name, p in top for cell in (name, f"{p:.6f}"))]


def as_csv(parts: Mapping[str, Predictions], classes: Sequence[str]) -> str:
    """Rows of part, path, true, predicted, confidence, and the top classes with their probabilities."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["part", "path", "true", *columns_of_top(classes)])
    for part, predictions in parts.items():
        rows = zip(predictions.samples, top_classes(predictions.log_probabilities, classes), strict=True)
        writer.writerows([part, s.path, classes[s.label], *cells_of_top(top)] for s, top in rows)
    return text.getvalue()


def written_probabilities(file: Path, part: str, classes: Sequence[str]) -> dict[str, list[float]]:
    """What ``as_csv`` wrote of a part, by path, where it wrote all: probabilities in the order of ``classes``.

    Empty where there is no file, where the classes are more than ``TOP``, and of other parts. They are rounded to
    1e-6 and need not sum to one.

    Raises:
        DataError: the file is none that ``as_csv`` wrote.
    """
    if not file.is_file() or len(classes) > TOP:
        return {}
    ranks = range(1, len(classes) + 1)
    try:
        with file.open(newline="", encoding="utf-8", errors="surrogateescape") as handle:
            rows = [row for row in csv.DictReader(handle) if row["part"] == part]
        said = {row["path"]: {row[f"class_{k}"]: float(row[f"probability_{k}"]) for k in ranks} for row in rows}
        return {path: [by_class[name] for name in classes] for path, by_class in said.items()}
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{file} is no table of predictions of the run's {len(classes)} classes ({type(error).__name__}: {error}); "
            "remove it to have them computed anew"
        ) from error


def evaluate(
    run: LoadedRun,
    pictures: Labelled,
    *,
    ten_crop: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> Predictions:
    """What a finished run's network says of labelled pictures, in float32.

    Args:
        run: the network with its preprocessing.
        pictures: of the run's classes.
        ten_crop: average the probabilities of ten crops of each picture instead of taking the centre's; a run whose
            protocol tests so always does.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        progress: told after each batch.

    Raises:
        DataError: a picture can no longer be read.
        UsageError: no such device here.
    """
    where, p = device_named(device), run.preprocessing
    ten_crop = ten_crop or p.ten_crop
    transform = TenCrop(p.size, p.crop) if ten_crop else EvalTransform(p.size, p.crop)
    side = side_of(eval_side(p.size, p.crop), p.fit)
    store = ImageStore.build(pictures.samples, pictures.root, side, cache="off")
    loader = batches(ImageDataset(store, pictures.samples, transform), 8 if ten_crop else 64)
    model = run.model.to(where)
    try:
        found = predict_batches(model, _counted(loader, len(pictures.samples), progress), p, where)
    finally:
        model.cpu()
    return Predictions(pictures.part, pictures.samples, found)


def _counted(batches: Iterable[Any], total: int, progress: Progress | None) -> Iterator[Any]:
    """The batches; ``progress`` is told of each once the next is asked for, so after its use."""
    done = 0
    for batch in batches:
        yield batch
        done += len(batch[0])
        if progress is not None:
            progress(done, total)
