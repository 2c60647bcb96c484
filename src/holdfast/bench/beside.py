"""Figures beside the metric: likelihood, calibration and time of a cell's runs, compared as the metric is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from holdfast.bench.statistics import LEVEL, Paired, holm, mean, paired_difference, sample_std

COMPARED = ("nll", "ece")
"""Of which differences are taken; seconds depend on what else a machine does."""


@dataclass(frozen=True)
class Beside:
    """One further figure of a cell: ``nll`` in nats, ``ece`` as a fraction, or ``seconds`` of a run.

    Attributes:
        values: of each finished run by its seed.
        difference: from the row that the cell is measured against, paired by seed; less is better. None for fewer than
            two pairs, and for seconds.
        p: of the difference, Holm-corrected over all differences in this figure of the table.
    """

    values: Mapping[int, float]
    difference: Paired | None = None
    p: float | None = None

    @property
    def mean(self) -> float:
        """Over runs."""
        return mean(list(self.values.values()))

    @property
    def std(self) -> float | None:
        """Sample standard deviation; None for a single run."""
        return sample_std(list(self.values.values())) if len(self.values) > 1 else None

    @property
    def settled(self) -> int:
        """-1 where it lies below the row measured against beyond chance, 1 where above, else 0."""
        if self.difference is None or self.p is None or self.p >= LEVEL:
            return 0
        return 1 if self.difference.mean > 0 else -1

    @property
    def arrow(self) -> str:
        """The same as a sign behind the figure."""
        return {-1: " \N{DOWNWARDS ARROW}", 0: "", 1: " \N{UPWARDS ARROW}"}[self.settled]


def beside(figures: Mapping[int, Mapping[str, Any]], part: str) -> dict[str, Beside]:
    """The further figures of a cell's runs; one that no run measured, or that is not finite, is left out.

    Args:
        figures: of each finished run by its seed.
        part: of the data, ``test`` or ``val``.
    """
    found = {}
    for name in (*COMPARED, "seconds"):
        key = name if name == "seconds" else f"{part}.{name}"
        measured = {seed: each[key] for seed, each in figures.items() if each.get(key) is not None}
        values = {seed: float(value) for seed, value in measured.items() if math.isfinite(value)}
        if values:
            found[name] = Beside(values)
    return found


def compared(treated: Mapping[str, Beside], control: Mapping[str, Beside]) -> dict[str, Beside]:
    """The figures of a cell with their differences from those of the row that it is measured against."""
    return dict(_differences(treated, control))


def _differences(treated: Mapping[str, Beside], control: Mapping[str, Beside]) -> Iterator[tuple[str, Beside]]:
    for name, figure in treated.items():
        base = control[name].values if name in COMPARED and name in control else {}
        seeds = sorted(figure.values.keys() & base.keys())
        if len(seeds) < 2:
            yield name, figure
            continue
        yield (
            name,
            replace(figure, difference=paired_difference([figure.values[s] for s in seeds], [base[s] for s in seeds])),
        )


def corrected(cells: Sequence[Mapping[str, Beside]]) -> list[dict[str, Beside]]:
    """The figures of all cells of a table with corrected probabilities; every figure is a family of its own."""
    found = [dict(cell) for cell in cells]
    for name in COMPARED:
        places = [place for place, cell in enumerate(found) if name in cell and cell[name].difference is not None]
        raw = [gap.p for place in places if (gap := found[place][name].difference) is not None]
        for place, p in zip(places, holm(raw), strict=True):
            found[place][name] = replace(found[place][name], p=p)
    return found
