"""Do gradients still reach the deep layers? Their norm at each stage over epochs (Li et al. 2020, §4.6.1)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from holdfast.analysis.course.logged_runs import LoggedRun, differences_beside_the_method, logged_runs, one_run_each
from holdfast.analysis.drawing import Drawn, drawn, entitle
from holdfast.analysis.finding import Finding
from holdfast.core.errors import DataError
from holdfast.report.measures import counted
from holdfast.report.palette import MUTED
from holdfast.report.svg import panels, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OTHER = ("epoch", "step", "resets")
_MARKERS = "os^Dv*P"
_FAINTEST = 0.35  # opacity of the first stage's line; the last stage's is full


@dataclass(frozen=True)
class Norms:
    """The gradient's norm at the start of each epoch.

    Attributes:
        run: whose.
        layers: name of each stage's layer, first stage first: epoch → norm, finite numbers.
        resets: epochs at whose start the head had been drawn anew since the start of the one before.
    """

    run: LoggedRun
    layers: Mapping[str, Mapping[int, float]]
    resets: Sequence[int]

    def jumps(self, layer: str) -> list[float]:
        """Norm after a reset over the norm one epoch earlier, where both are known and positive."""
        norms = self.layers[layer]
        around = [(norms.get(epoch - 1, 0.0), norms.get(epoch, 0.0)) for epoch in self.resets]
        return [after / before for before, after in around if before > 0 and after > 0]


def gradients(runs: Sequence[Path]) -> Finding:
    """Norms of the gradient over epochs, of runs that were trained with ``log_gradients``.

    Args:
        runs: folders of finished runs on the same data, such as ``l2`` and ``l2+rifle(periods=5, variant='A')``.

    Raises:
        UsageError: no run, or one twice.
        DataError: a run is not finished or has no such log, or the runs have other classes.
    """
    read = [norms(run) for run in logged_runs(runs, "gradients", "epoch", "--log-gradients")]
    bare = [each.run for each in read]
    return Finding(
        analysis="gradients",
        title="Norm of the gradient at each stage, at the start of each epoch",
        text=" ".join(map(sentences, read)),
        data={"runs": [as_data(each) for each in read]},
        figures=[figure(read)],
        inputs={"runs": [run.inputs for run in bare]},
        notes=[
            *differences_beside_the_method(bare),
            one_run_each(bare),
            "Each norm is that of one batch's gradient of J + Ω; weight decay in the optimiser is no part of it.",
        ],
    )


def norms(run: LoggedRun) -> Norms:
    """The columns of a run's gradients.csv.

    Raises:
        DataError: it has no layer.
    """
    names = list(dict.fromkeys(name for row in run.rows for name in row if name not in _OTHER))
    layers = {
        name: {int(row["epoch"]): row[name] for row in run.rows if math.isfinite(row.get(name, math.nan))}
        for name in names
    }
    layers = {name: found for name, found in layers.items() if found}
    if not layers:
        raise DataError(
            f"expected a layer in the columns of gradients.csv, found none with a number in {run.record.folder}: train "
            "again with --log-gradients and another --out"
        )
    pairs = itertools.pairwise(run.rows)
    resets = [int(row["epoch"]) for before, row in pairs if row.get("resets", 0) > before.get("resets", 0)]
    return Norms(run, layers, resets)


def as_data(each: Norms) -> dict[str, Any]:
    """As JSON has it."""
    return {
        **each.run.inputs,
        "resets_before_epoch": each.resets,
        "layers": {
            name: {
                "epoch": list(found),
                "norm": list(found.values()),
                "after_over_before_resets": each.jumps(name),
            }
            for name, found in each.layers.items()
        },
    }


def sentences(each: Norms) -> str:
    """What the run shows: the ends of each stage's curve, which stage is lowest, and what resets do."""
    ends = [f"{name} {_number(_first(found))} to {_number(_last(found))}" for name, found in each.layers.items()]
    kept = ends if len(ends) <= len(_MARKERS) else [ends[0], ends[-1]]
    epochs = sorted(set.intersection(*(set(found) for found in each.layers.values())))
    said = f"{each.run.name}: from the first epoch to the last, the norm went from {', '.join(kept)}."
    if len(ends) > 1:
        first, *others = each.layers.values()
        lowest = sum(first[epoch] < min(other[epoch] for other in others) for epoch in epochs)
        said += f" It was lowest at the first stage in {lowest} of {counted(len(epochs), 'epoch')}."
    if not each.resets:
        return said
    last = list(each.layers)[-1]
    every = [ratio for name in each.layers for ratio in each.jumps(name)]
    if not every:
        return f"{said} {counted(len(each.resets), 're-initialisation')} of the head, with no norm on both sides."
    return (
        f"{said} After the {counted(len(each.resets), 're-initialisation')} of the head it was {_times(every)} that of "
        f"one epoch earlier (median over stages; {min(every):.2g} to {max(every):.2g}), at {last} "
        f"{_times(each.jumps(last))}."
    )


def figure(read: Sequence[Norms]) -> Drawn:
    """A panel for each run, side by side, on one logarithmic axis."""
    width = max(5.0, 3.3 * len(read))
    rows = max(len(each.layers) for each in read)
    with panels(width, 3.0 + 0.19 * rows, 1, len(read), sharey=True) as (whole, axes):
        for each, place in zip(read, axes[0], strict=True):
            _panel(place, each)
        axes[0][0].set_ylabel("Frobenius norm of the gradient")
        reset = any(each.resets for each in read)
        caption = (
            "Norm of the gradient of J + Ω at one layer of each stage, first batch of each epoch; "
            f"{counted(len(read), 'run')}, one seed each."
            + (" Dotted lines: the first epoch after the head was drawn anew." if reset else "")
        )
        told = "; ".join(
            f"{each.run.name}: "
            + ", ".join(f"{name} {_number(_first(f))} to {_number(_last(f))}" for name, f in each.layers.items())
            + (f", head drawn anew before epochs {', '.join(map(str, each.resets))}" if each.resets else "")
            for each in read
        )
        return drawn(whole, "gradients-stages", label=f"Curves of the gradient's norm: {told}", caption=caption)


def _panel(axes: Axes, each: Norms) -> None:
    for epoch in each.resets:
        axes.axvline(epoch, color=MUTED.light, linewidth=0.8, linestyle=(0, (1, 1.5)))
    strengths = np.linspace(_FAINTEST, 1, len(each.layers)) if len(each.layers) > 1 else [1.0]
    for at, (name, found) in enumerate(each.layers.items()):
        style: dict[str, Any] = {
            "marker": _MARKERS[at % len(_MARKERS)],
            "markersize": 3.5,
            "alpha": float(strengths[at]),
        }
        axes.plot(list(found), list(found.values()), color=each.run.colour.light, label=plain(name), **style)
    axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    entitle(axes, each.run.name)
    legend = axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), fontsize=7)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _first(found: Mapping[int, float]) -> float:
    return found[min(found)]


def _last(found: Mapping[int, float]) -> float:
    return found[max(found)]


def _number(value: float) -> str:
    return f"{value:.3g}"


def _times(ratios: Sequence[float]) -> str:
    return f"{float(np.median(ratios)):.2g} times" if ratios else "unknown times"
