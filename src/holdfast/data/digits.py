"""The demo's target: scikit-learn's hand-written digits with a few labels per class.

The 1797 pictures are divided once, by a fixed seed and stratified: a *pool* that training sets are drawn from, a
*validation* part for choosing strengths, and a *test* part.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from holdfast.core.errors import UsageError
from holdfast.data.glyphs import as_input

CLASSES = 10
_SHARES = {"test": 0.5, "val": 0.25}
_SPLIT_SEED = 20240
Part = Literal["pool", "val", "test"]


@dataclass(frozen=True)
class Digits:
    """Pictures as network input, (N, 3, 16, 16) float32, and labels, (N,) int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def digits(part: Part) -> Digits:
    """Return a whole part: ``pool`` (about a quarter), ``val`` (a quarter) or ``test`` (a half)."""
    cells, labels = _bundled()
    places = _parts()[part]
    return Digits(as_input(cells[places]), labels[places])


def draw(per_class: int, seed: int) -> Digits:
    """Draw a training set from the pool; with the same seed a smaller one lies within a larger one.

    Args:
        per_class: labelled pictures of each of the ten classes.
        seed: one draw per seed.

    Raises:
        UsageError: the pool has fewer pictures of a class, or ``per_class`` is below 1.
    """
    pool = digits("pool")
    available = int(torch.bincount(pool.labels, minlength=CLASSES).min())
    if not 1 <= per_class <= available:
        raise UsageError(f"expected 1 to {available} labels per class, found {per_class}")
    order = _order_by_class(pool.labels, seed)
    places = torch.cat([order[label][:per_class] for label in range(CLASSES)])
    return Digits(pool.images[places], pool.labels[places])


@cache
def _bundled() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return torch.tensor(bunch.images, dtype=torch.float32)[:, None] / 16, torch.tensor(bunch.target)


@cache
def _parts() -> dict[Part, Tensor]:
    _, labels = _bundled()
    parts: dict[Part, list[Tensor]] = {"pool": [], "val": [], "test": []}
    for places in _order_by_class(labels, _SPLIT_SEED):
        first = round(_SHARES["test"] * len(places))
        second = first + round(_SHARES["val"] * len(places))
        parts["test"].append(places[:first])
        parts["val"].append(places[first:second])
        parts["pool"].append(places[second:])
    return {part: torch.cat(chunks) for part, chunks in parts.items()}


def _order_by_class(labels: Tensor, seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    return [order[labels[order] == label] for label in range(CLASSES)]
