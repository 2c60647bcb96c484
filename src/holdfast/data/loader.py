"""Batches whose order and augmentation are functions of seed, epoch and sample."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from holdfast.core.errors import UsageError
from holdfast.data.augment import EvalTransform, TenCrop, eval_side, keyed_uniforms
from holdfast.data.cache import CacheKind, ImageStore
from holdfast.data.examine import Progress
from holdfast.data.frame import Fit, side_of
from holdfast.data.index import FolderIndex, Sample
from holdfast.data.protocols import train_transform

Transform = Callable[..., Tensor]
"""Called as ``transform(image, epoch=…, sample=…)``."""

Loader = DataLoader[Any]
"""Yields uint8 pictures (B, 3, S, S) or (B, 10, 3, S, S), labels (B,) and positions (B,)."""

logger = logging.getLogger(__name__)


class ImageDataset(Dataset[tuple[Tensor, int, int]]):
    """Transformed pictures with label and position.

    Args:
        store: pictures, one per sample, in the samples' order.
        samples: their labels.
        transform: from a kept picture to the network's input, given epoch and position.
    """

    def __init__(self, store: ImageStore, samples: Sequence[Sample], transform: Transform) -> None:
        if len(store) != len(samples):
            raise UsageError(f"expected a store with the {len(samples)} pictures of the samples, found {len(store)}")
        self.store = store
        self.samples = tuple(samples)
        self.transform = transform
        # Shared memory, so that loading processes kept over epochs see the change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose augmentation is drawn from now on."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, position: int) -> tuple[Tensor, int, int]:
        image = self.transform(self.store[position], epoch=int(self._epoch), sample=position)
        return image, self.samples[position].label, position


def epoch_order(n: int, *, seed: int, epoch: int) -> list[int]:
    """A permutation of 0…n−1, a function of its arguments alone."""
    key = int(keyed_uniforms(seed, epoch)[0] * 2**53)
    return torch.randperm(n, generator=torch.Generator().manual_seed(key)).tolist()


class EpochSampler(Sampler[int]):
    """``epoch_order``, shared out over ranks: rank r takes positions r, r + world and so on.

    The order is continued from its beginning until every rank has the same number, so that the ranks' batches
    together are those of one process. ``set_epoch`` also sets the dataset's epoch.

    Args:
        n: number of samples.
        seed: of the order.
        rank: of this process.
        world: number of processes.
        dataset: told of the epoch, for its augmentation.
    """

    def __init__(
        self, n: int, *, seed: int, rank: int = 0, world: int = 1, dataset: ImageDataset | None = None
    ) -> None:
        if not (n >= 1 and 0 <= rank < world):
            raise UsageError(f"expected samples and 0 <= rank < world, found n={n}, rank={rank}, world={world}")
        self.n = n
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = 0
        self._dataset = dataset
        self._start = 0

    def set_epoch(self, epoch: int, *, start: int = 0) -> None:
        """Choose the epoch; its first pass leaves out the first ``start`` positions of this rank (to resume)."""
        self.epoch = epoch
        self._start = start
        if self._dataset is not None:
            self._dataset.set_epoch(epoch)

    def __len__(self) -> int:
        return -(-self.n // self.world)

    def __iter__(self) -> Iterator[int]:
        order = epoch_order(self.n, seed=self.seed, epoch=self.epoch)
        start, self._start = self._start, 0
        places = range(self.rank, len(self) * self.world, self.world)
        return iter([order[place % self.n] for place in places[start:]])


def set_epoch(loader: Loader, epoch: int, *, start: int = 0) -> None:
    """Choose a training loader's epoch before it is iterated over; see ``EpochSampler.set_epoch``.

    Raises:
        UsageError: the loader has no ``EpochSampler``.
    """
    if not isinstance(loader.sampler, EpochSampler):
        raise UsageError(f"expected a training loader with an EpochSampler, found {type(loader.sampler).__name__}")
    loader.sampler.set_epoch(epoch, start=start)


def last_batch_note(n: int, batch_size: int, *, world: int = 1) -> str | None:
    """What becomes of a training epoch's last batch if it would hold one picture, else None.

    Batch normalisation has no variance over one sample, so such a batch is left out; an epoch of one single
    batch keeps it.
    """
    per_rank = -(-n // world)
    if per_rank % batch_size != 1 or per_rank == 1 or batch_size == 1:
        return None
    return f"the last batch of each epoch would hold one picture of {n}: left out (another one every epoch)"


def make_loaders(
    index: FolderIndex,
    *,
    size: int,
    batch_size: int,
    seed: int,
    cache: CacheKind = "ram",
    cache_dir: str | Path | None = None,
    workers: int = 0,
    augment: bool = True,
    transform: str = "crops",
    crop_ratio: float = 0.875,
    fit: Fit = "shorter",
    ten_crop: bool = False,
    rank: int = 0,
    world: int = 1,
    pin_memory: bool = False,
    progress: Progress | None = None,
) -> dict[str, Loader]:
    """Loaders of ``(uint8 pictures, labels, positions in the part)`` for the parts that exist.

    Call ``set_epoch`` on the training loader before each epoch. Val and test come whole, in
    order, on every rank. Scan with ``side=side_of(eval_side(size, crop_ratio), fit)``, and nothing is decoded twice.

    Args:
        index: the scanned folder.
        size: side of the network's input, in pixels.
        batch_size: pictures per step and rank.
        seed: of order and augmentation.
        cache: see ``ImageStore.build``.
        cache_dir: likewise.
        workers: loading processes; 0 loads in this one. The batches are the same.
        augment: False gives the training part centre crops.
        transform: of the training part, ``crops`` or a protocol; see ``train_transform``.
        crop_ratio: see ``EvalTransform``.
        fit: see ``Frame``.
        ten_crop: val and test as ``TenCrop``, shape (B, 10, 3, size, size).
        rank: of this process.
        world: number of processes.
        pin_memory: see ``torch.utils.data.DataLoader``.
        progress: see ``ImageStore.build``.

    Raises:
        UsageError: an argument out of range.
        DataError: see ``ImageStore.build``.
    """
    side = side_of(eval_side(size, crop_ratio), fit)
    store = ImageStore.build(index, side=side, cache=cache, cache_dir=cache_dir, progress=progress)
    centre = EvalTransform(size, crop_ratio)
    loaders: dict[str, Loader] = {}
    for part, samples in index.parts.items():
        if part == "train":
            drawn: Transform = train_transform(transform, size, seed) if augment else centre
            dataset = ImageDataset(store.select(samples), samples, drawn)
            sampler = EpochSampler(len(samples), seed=seed, rank=rank, world=world, dataset=dataset)
        else:
            dataset = ImageDataset(store.select(samples), samples, TenCrop(size, crop_ratio) if ten_crop else centre)
            sampler = None
        loaders[part] = batches(dataset, batch_size, sampler=sampler, workers=workers, pin_memory=pin_memory)
    return loaders


def batches(
    dataset: ImageDataset,
    batch_size: int,
    *,
    sampler: EpochSampler | None = None,
    workers: int = 0,
    pin_memory: bool = False,
) -> Loader:
    """A loader of a dataset: in order, or in the sampler's order and without a last batch of one picture.

    Raises:
        UsageError: an argument out of range.
    """
    if batch_size < 1 or workers < 0:
        raise UsageError(f"expected batch_size >= 1 and workers >= 0, found {batch_size} and {workers}")
    note = None if sampler is None else last_batch_note(sampler.n, batch_size, world=sampler.world)
    if note:
        logger.info(note)
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        drop_last=note is not None,
        pin_memory=pin_memory,
        generator=torch.Generator().manual_seed(0),  # else each pass would draw from the global generator
    )
