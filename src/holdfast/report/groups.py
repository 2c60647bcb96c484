"""Runs grouped by method and paired by seed with a baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from holdfast.bench.statistics import holm, mean, paired_difference, sample_std
from holdfast.core.errors import UsageError


@dataclass(frozen=True)
class Gain:
    """Differences to the baseline, one per shared seed; the interval and probability need at least two."""

    differences: Sequence[float]
    mean: float
    interval: tuple[float, float] | None
    p: float | None

    @property
    def pairs(self) -> int:
        """How many seeds the method shares with the baseline."""
        return len(self.differences)


@dataclass(frozen=True)
class Group:
    """The runs of one method.

    Attributes:
        name: the method.
        results: its runs as they were handed in.
        values: the compared figure of each run that has one.
        against: what the gain is over; None for the baseline itself and where there is none.
        gain: over ``against``; None without a shared seed.
        holm: the gain's probability after Holm's correction for all gains together.
        notes: what was left out, one sentence each.
    """

    name: str
    results: Sequence[Mapping[str, Any]]
    values: Sequence[float]
    against: str | None = None
    gain: Gain | None = None
    holm: float | None = None
    notes: Sequence[str] = ()

    @property
    def mean(self) -> float:
        """Mean of ``values``."""
        return mean(self.values)

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % t-interval of the mean; None with fewer than two values."""
        return _interval(self.values)[0]

    @property
    def curves(self) -> list[Sequence[float | None]]:
        """The runs' curves, where they have one."""
        return [result["curve"] for result in self.results if result.get("curve")]

    def spread(self, key: str) -> tuple[float, float | None]:
        """Mean and sample standard deviation of a figure; not a number without values, None with a single one."""
        values = [number for result in self.results if (number := _finite(result.get(key))) is not None]
        if not values:
            return math.nan, None
        return mean(values), sample_std(values) if len(values) > 1 else None

    def mean_curve(self) -> list[float]:
        """Mean over the runs that were validated after that epoch, epoch by epoch; not a number where none was."""
        longest = max(map(len, self.curves), default=0)
        return [_mean_at(self.curves, epoch) for epoch in range(longest)]


def grouped(results: Sequence[Mapping[str, Any]], baseline: str | None, metric: str) -> list[Group]:
    """Groups in the order of their first run, the baseline before the others, with gains paired by seed.

    Without a baseline no gain is measured.

    Raises:
        UsageError: no result, none of the baseline, two of one method and seed, or a baseline without the metric.
    """
    names = list(dict.fromkeys(str(result["method"]) for result in results))
    if baseline is not None and baseline not in names:
        raise UsageError(f"expected runs of the baseline {baseline!r}, found runs of {', '.join(names) or 'nothing'}")
    names.sort(key=lambda name: name != baseline)
    by_seed = {name: _by_seed(name, results, metric) for name in names}
    if baseline is not None and not by_seed[baseline][0]:
        raise UsageError(f"expected {metric!r} as a finite number in the runs of {baseline!r}, found it in none")
    groups = [_group(name, results, by_seed, baseline) for name in names]
    return _corrected(groups)


def _group(
    name: str,
    results: Sequence[Mapping[str, Any]],
    by_seed: Mapping[str, tuple[dict[Any, float], list[str]]],
    baseline: str | None,
) -> Group:
    values, notes = by_seed[name]
    own = [result for result in results if str(result["method"]) == name]
    group = Group(name, own, list(values.values()), notes=notes)
    if baseline in (None, name):
        return group
    base = by_seed[str(baseline)][0]
    notes = [*notes, *_unpaired(name, values, str(baseline), base)]
    return replace(group, against=baseline, gain=_gain(values, base), notes=notes)


def _by_seed(name: str, results: Sequence[Mapping[str, Any]], metric: str) -> tuple[dict[Any, float], list[str]]:
    """The metric by seed, and a note on runs without it: a run that diverged must not vanish silently."""
    found: dict[Any, float | None] = {}
    for result in results:
        if str(result["method"]) == name:
            if result["seed"] in found:
                raise UsageError(f"expected one run per method and seed, found two of {name!r} with {result['seed']}")
            found[result["seed"]] = _finite(result.get(metric))
    missing = ", ".join(str(seed) for seed, value in found.items() if value is None)
    notes = [f"{name}: no {metric} from seed {missing}; left out of the means."] if missing else []
    return {seed: value for seed, value in found.items() if value is not None}, notes


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _gain(own: Mapping[Any, float], base: Mapping[Any, float]) -> Gain | None:
    differences = [value - base[seed] for seed, value in own.items() if seed in base]
    if not differences:
        return None
    interval, p = _interval(differences)
    return Gain(differences, mean(differences), interval, p)


def _interval(values: Sequence[float]) -> tuple[tuple[float, float] | None, float | None]:
    if len(values) < 2:
        return None, None
    # Student's interval of a mean is that of its difference from zero.
    found = paired_difference(values, [0.0] * len(values))
    return (found.low, found.high), found.p


def _unpaired(name: str, own: Mapping[Any, float], baseline: str, base: Mapping[Any, float]) -> list[str]:
    alone = ", ".join(str(seed) for seed in own if seed not in base)
    return [f"{name}: seed {alone} has no run of {baseline} to be paired with."] if alone else []


def _corrected(groups: Sequence[Group]) -> list[Group]:
    probabilities = {g.name: g.gain.p for g in groups if g.gain is not None and g.gain.p is not None}
    adjusted = dict(zip(probabilities, holm(list(probabilities.values())), strict=True))
    return [replace(group, holm=adjusted.get(group.name)) for group in groups]


def _mean_at(curves: Sequence[Sequence[float | None]], epoch: int) -> float:
    values = [number for curve in curves if epoch < len(curve) and (number := _finite(curve[epoch])) is not None]
    return mean(values) if values else math.nan
