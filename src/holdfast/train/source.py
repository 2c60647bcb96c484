"""Source pictures, of a folder or of a data set by name, for methods that train on them beside the target's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from holdfast.core.errors import UsageError
from holdfast.core.method import Method
from holdfast.core.streams import Stream
from holdfast.data.augment import EvalTransform, eval_side, normalise
from holdfast.data.cache import ImageStore
from holdfast.data.examine import Progress
from holdfast.data.frame import side_of
from holdfast.data.index import FolderIndex
from holdfast.data.named.catalogue import entry, is_named
from holdfast.data.named.dataset import open_named
from holdfast.data.portion import split_portion
from holdfast.data.protocols import train_transform
from holdfast.data.source import FromName
from holdfast.data.walk import UNSPLIT, Tree, read_tree
from holdfast.models.preprocessing import Preprocessing
from holdfast.train.labelled import pictures_in
from holdfast.train.settings import Settings


def asks(methods: Iterable[Method]) -> Method | None:
    """The first method, wrapped or not, that trains on source data."""
    for method in methods:
        found = method if "source" in method.streams else asks(method.children)
        if found is not None:
            return found
    return None


def check_source(settings: Settings, methods: Iterable[Method]) -> None:
    """Raise UsageError where a method trains on source data and no folder of them is named."""
    method = asks(methods)
    if method is not None and settings.source is None:
        raise UsageError(f"{method} trains on {method.streams['source']}: name their folder with --source FOLDER")


def source_index(settings: Settings, methods: Iterable[Method]) -> FolderIndex | None:
    """The source pictures that the methods ask for: the train part, or all of a folder without parts.

    Raises:
        DataError: the folder holds no classes of pictures, or the data set is not there.
    """
    if asks(methods) is None or settings.source is None:
        return None
    if is_named(settings.source):
        name, portion = split_portion(settings.source)
        opened = open_named(entry(name), settings.data_root, val_fraction=0, portion=portion)
        return FromName(replace(opened, parts={"train": opened.parts["train"]})).index(strict=settings.strict)
    folder = Path(settings.source)
    files, _ = read_tree(Tree(folder))
    classes = tuple(files["train"] if "train" in files else files[UNSPLIT])
    found = pictures_in(folder, classes, "train", strict=settings.strict)
    return FolderIndex(found.root, classes, {"train": tuple(found.samples)}, tuple(found.skipped))


def digest(index: FolderIndex) -> str:
    """SHA-256 of the classes, and of every picture's content and label."""
    lines = [*index.classes, *(f"{sample.digest} {sample.label}" for sample in index.parts["train"])]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class SourcePictures(Dataset[tuple[Tensor, int]]):
    """The source pictures as the network takes them: float32, normalised, with their labels.

    Args:
        index: of the folder.
        preprocessing: the network's.
        settings: of the run; cache, augmentation and seed are those of the target's pictures.
        cache_dir: folder of the disk cache.
        augmented: random crops and mirroring, drawn from the global generator, which a stream keys; else centre crops.
    """

    def __init__(
        self, index: FolderIndex, preprocessing: Preprocessing, settings: Settings, cache_dir: Path, augmented: bool
    ) -> None:
        self.classes, self.samples = index.classes, index.parts["train"]
        self._index, self._settings, self._cache_dir = index, settings, cache_dir
        self._preprocessing, self._augmented = preprocessing, augmented
        self._store: ImageStore | None = None

    def open(self, store: ImageStore | None = None, progress: Progress | None = None) -> ImageStore:
        """Decode the pictures as the settings' cache says, before the first is read; or share another's."""
        p = self._preprocessing
        side = side_of(eval_side(p.size, p.crop), p.fit)
        self._store = store or ImageStore.build(
            self._index, side=side, cache=self._settings.cache, cache_dir=self._cache_dir, progress=progress
        )
        return self._store

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        assert self._store is not None
        p, kept = self._preprocessing, self._store[position]
        if self._augmented:
            draw = int(torch.randint(2**31, ()))  # a new one at each look
            augment = train_transform(self._settings.transform, p.size, self._settings.seed)
            picture = augment(kept, epoch=draw, sample=position)
        else:
            picture = EvalTransform(p.size, p.crop)(kept)
        return normalise(picture, p.mean, p.std), self.samples[position].label


class Source:
    """The stream of a run's source pictures.

    Args:
        index: of their folder.
        preprocessing: the network's.
        settings: of the run.
        cache_dir: folder of the disk cache, and of what methods make of the whole set.
        progress: told while a method looks at all pictures.
    """

    def __init__(
        self,
        index: FolderIndex,
        preprocessing: Preprocessing,
        settings: Settings,
        cache_dir: Path,
        progress: Progress | None = None,
    ) -> None:
        make = (index, preprocessing, settings, cache_dir)
        self._moving, self._still = SourcePictures(*make, settings.augment), SourcePictures(*make, augmented=False)
        key = f"{preprocessing.size}px-{preprocessing.fit}-{digest(index)[:32]}"
        self.stream = Stream(
            self._moving, workers=settings.workers, still=self._still, folder=cache_dir, key=key, progress=progress
        )

    def open(self) -> None:
        """Decode the pictures; a rehearsal does without."""
        self._still.open(self._moving.open())
