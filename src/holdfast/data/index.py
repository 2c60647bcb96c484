"""What is known of a folder of images: its classes, its parts and what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.data.frame import Side

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Sample:
    """One picture with its class.

    Attributes:
        path: relative to the data folder, with forward slashes.
        label: position of the class in ``FolderIndex.classes``.
        digest: SHA-256 of the file's content, hexadecimal.
    """

    path: str
    label: int
    digest: str


@dataclass(frozen=True)
class Skipped:
    """A file that cannot be used, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Decoded:
    """Pictures that a scan has decoded already, by digest, shorter side ``side`` or framed."""

    side: Side
    images: Mapping[str, Tensor]


@dataclass(frozen=True)
class FolderIndex:
    """A scanned folder of images.

    Attributes:
        root: the data folder.
        classes: class names in the order of the labels.
        parts: samples of ``train``, ``val`` and ``test``; a part that does not exist has no key.
        skipped: files that cannot be read as pictures.
        notes: what a user should know, one line each.
        decoded: pictures kept by the scan, so that a store need not decode them again.
    """

    root: Path
    classes: tuple[str, ...]
    parts: dict[str, tuple[Sample, ...]]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    decoded: Decoded | None = field(default=None, repr=False, compare=False)

    def counts(self, part: str) -> tuple[int, ...]:
        """Number of pictures of each class in a part, in the order of ``classes``."""
        counts = [0] * len(self.classes)
        for sample in self.parts.get(part, ()):
            counts[sample.label] += 1
        return tuple(counts)

    def samples(self) -> tuple[Sample, ...]:
        """All samples, part after part in the order of ``PARTS``."""
        return tuple(sample for part in PARTS for sample in self.parts.get(part, ()))


def class_weights(index: FolderIndex) -> Tensor:
    """Balanced weights of the classes, for a weighted cross-entropy.

    ``weight_k = n / (K · n_k)``

    *where* n is the number of training pictures, K that of the classes and n_k that of class k's training
    pictures; the mean weight over the training pictures is one.

    Returns:
        float32, shape (K,).
    """
    import torch

    counts = torch.tensor(index.counts("train"), dtype=torch.float64)
    return (counts.sum() / (len(counts) * counts)).to(torch.float32)
