"""``rifle-oracle``: whether resets of the head bring the first layer nearer to the one that made the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from holdfast.analysis.finding import Finding
from holdfast.analysis.theory.rifle_oracle.compared import TEST, Compared, as_data, compared
from holdfast.analysis.theory.rifle_oracle.figures import draw_levels, draw_orders
from holdfast.analysis.theory.rifle_oracle.readings import chosen
from holdfast.analysis.theory.rifle_oracle.runs import run_all
from holdfast.analysis.theory.rifle_oracle.transport import COSTS, needs_pot
from holdfast.core.errors import UsageError
from holdfast.data.examine import Progress

PRINTED = {"test error": {"l2": 1.16e-2, "rifle": 3.98e-3}, "distance": {"l2": 0.1397, "rifle": 0.1198}}
"""What §4.6.2 of Li et al. 2020 prints, of one run or a number of them that it does not give."""
_NOTES = (
    "The paper does not say how many runs are behind its figures, nor how sure they are.",
    "Readings differ from the base reading in one thing each, and in one case in two: what other combinations would "
    "show is not known.",
    "An order holds, or is reversed, where the 95 % interval of the paired difference over seeds excludes zero; with "
    "so many comparisons some would by chance alone, so Holm's correction over the readings stands beside it.",
    "Both arms share oracles, samples, source model, order of batches and number of steps; neither was tuned.",
)


def rifle_oracle(
    folder: Path,
    *,
    seeds: int = 10,
    reading: str = "all",
    workers: int = 1,
    progress: Progress = lambda done, total: None,
) -> Finding:
    """Do the MLP experiment of Li et al. 2020 (RIFLE), §4.6.2, over the readings that its text leaves open.

    Args:
        folder: of the finding; every run is written below it when it ends, and not done again.
        seeds: of each reading, at least 2.
        reading: name of one, or ``all``.
        workers: processes, at least 1.
        progress: told how many runs are done, and of how many.

    Raises:
        UsageError: an unknown reading, fewer than two seeds, no POT.
        DataError: a file of earlier runs cannot be read.
    """
    readings = chosen(reading)
    if seeds < 2:
        raise UsageError(f"expected at least 2 seeds, found {seeds}; an interval needs them")
    needs_pot()
    found = run_all(readings, seeds, folder, workers, progress)
    results = [compared(each, found[each.name]) for each in readings]
    count = f"{seeds} seeds of each reading"
    return Finding(
        analysis="rifle-oracle",
        title="Does RIFLE learn the first layer better?",
        text=" ".join((*_error_orders(results, seeds), *_distance_orders(results), _levels(results[0]))),
        data={"printed": PRINTED, "ground_costs": COSTS, "readings": as_data(results)},
        figures=[draw_levels(results, PRINTED[TEST], count), draw_orders(results, count)],
        inputs={"seeds": seeds, "readings": [each.name for each in readings]},
        notes=_NOTES,
    )


def _error_orders(results: Sequence[Compared], seeds: int) -> Iterator[str]:
    yield (
        f"Li et al. find that RIFLE lowers the test error, and the distance of the first layer from the oracles'. "
        f"Over {seeds} seeds, its test error is beyond chance below that of L2 in "
        f"{_named(results, TEST, 'holds')}, above it in {_named(results, TEST, 'reversed')}, and not told apart in "
        f"{_named(results, TEST, 'open')}."
    )


def _named(results: Sequence[Compared], measure: str, verdict: str) -> str:
    names = [each.reading.name for each in results if each.measures[measure].verdict == verdict]
    of = f"{len(names)} of {len(results)} readings" if len(results) > 1 else f"{len(names)} of 1 reading"
    return of + (f" ({', '.join(names)})" if names else "")


def _distance_orders(results: Sequence[Compared]) -> Iterator[str]:
    pairs = [each.measures[cost].verdict for each in results for cost in COSTS]
    yield (
        f"The distance is below that of L2 in {pairs.count('holds')} of {len(pairs)} pairs of reading and ground cost, "
        f"above it in {pairs.count('reversed')}, not told apart in {pairs.count('open')}."
    )
    both = [f"{each.reading.name} ({', '.join(each.both)})" for each in results if each.both]
    yield f"Both orders hold together in {'; '.join(both) if both else 'no reading'}."


def _levels(base: Compared) -> str:
    test, units = base.test, base.measures["units"]
    printed, distance = PRINTED[TEST], PRINTED["distance"]
    return (
        f"In the reading {base.reading.name!r} the mean test error goes from {test.l2:.3g} with L2 to {test.rifle:.3g} "
        f"with RIFLE (printed: {printed['l2']:.3g} to {printed['rifle']:.3g}), the distance at POT's default cost from "
        f"{units.l2:.4g} to {units.rifle:.4g} (printed, cost not named: {distance['l2']} to {distance['rifle']}); "
        f"before fine-tuning it was {units.start:.4g}."
    )
