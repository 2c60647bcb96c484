"""Accuracy of L²-SP over its two strengths, α on shared layers and β on the new head (L2-SP, §4.1.2, Figure 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from holdfast.analysis.drawing import Drawn, drawn
from holdfast.analysis.finding import Finding
from holdfast.analysis.sweeps.shown import mean_in_words, runs_in_words
from holdfast.analysis.sweeps.sweep import Point, Sweep, the_one
from holdfast.bench.statistics import Paired, paired_difference
from holdfast.core.errors import UsageError
from holdfast.methods.l2_sp import L2SP
from holdfast.report.figures import FAINTEST, STRONGEST
from holdfast.report.measures import fixed
from holdfast.report.palette import method_colour
from holdfast.report.svg import chart

Grid = Mapping[tuple[float, float], Point]
"""Points by α and β."""


def alpha_beta_grid(sweep: Sweep) -> Finding:
    """Show accuracy over α and β as a heat map with the value in each cell.

    Raises:
        UsageError: two points of one place, or none.
    """
    grid, aside = sweep.placed(place)
    if not grid:
        raise UsageError(f"no row of {sweep.name} has one l2_sp: expected rows as l2_sp(alpha=0.1, beta={{beta}})")
    head = penalised_head(grid)
    return Finding(
        analysis="alpha-beta-grid",
        title="L²-SP over its strengths α and β",
        text=_in_words(grid, head),
        data={
            "points": [{"alpha": alpha, "beta": beta, **p.as_data()} for (alpha, beta), p in sorted(grid.items())],
            "penalised_head": head,
        },
        figures=[_figure(sweep, grid)],
        inputs=sweep.inputs,
        notes=[
            *([f"Rows without one l2_sp are left out: {', '.join(aside)}."] if aside else []),
            "The cell with the highest mean is picked by the very figures that are shown: it is optimistic.",
            *sweep.notes(),
        ],
    )


def place(point: Point) -> tuple[float, float] | None:
    """α and β of a point's only ``l2_sp``; None without one."""
    method = the_one(point.methods, L2SP)
    return None if method is None else (method.alpha, method.beta)


def penalised_head(grid: Grid) -> dict[str, Any] | None:
    """What the best β > 0 gains over β = 0 at the α of the highest mean, paired by seed; None where one is missing."""
    (alpha, _), _ = max(grid.items(), key=lambda found: found[1].mean)
    free = grid.get((alpha, 0.0))
    held = {beta: point for (a, beta), point in grid.items() if a == alpha and beta > 0}
    if free is None or not held:
        return None
    beta, best = max(held.items(), key=lambda found: found[1].mean)
    seeds = sorted(free.entry.values.keys() & best.entry.values.keys())
    if len(seeds) < 2:
        return None
    gain = paired_difference([best.entry.values[s] for s in seeds], [free.entry.values[s] for s in seeds])
    return {"alpha": alpha, "beta": beta, **_as_data(gain)}


def _as_data(gain: Paired) -> dict[str, Any]:
    return {"gain": gain.mean, "interval": [gain.low, gain.high], "p": gain.p, "pairs": gain.pairs}


def _in_words(grid: Grid, head: Mapping[str, Any] | None) -> str:
    order = sorted(grid.items(), key=lambda found: found[1].mean)
    ((low_a, low_b), low), ((high_a, high_b), high) = order[0], order[-1]
    text = (
        f"Of {len(grid)} pairs of strengths the highest mean is at α = {high_a:g}, β = {high_b:g}: "
        f"{mean_in_words(high)}; the lowest at α = {low_a:g}, β = {low_b:g}: {mean_in_words(low)}."
    )
    if head is None:
        return text
    low_end, high_end = head["interval"]
    return (
        f"{text} At α = {head['alpha']:g}, β = {head['beta']:g} gains {fixed(head['gain'], 1)} points over β = 0 "
        f"(95 % interval {fixed(low_end, 1)} to {fixed(high_end, 1)}, {head['pairs']} pairs, p = {head['p']:.2g}, "
        "not corrected for the choice of the pair)."
    )


def _figure(sweep: Sweep, grid: Grid) -> Drawn:
    alphas, betas = (sorted({key[axis] for key in grid}) for axis in (0, 1))
    with chart(1.4 + 0.85 * len(alphas), 1.1 + 0.6 * len(betas)) as (figure, axes):
        axes.set_xlim(-0.5, len(alphas) - 0.5)
        axes.set_ylim(-0.5, len(betas) - 0.5)
        axes.grid(False)
        _cells(axes, grid, alphas, betas)
        axes.set_xticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
        axes.set_yticks(range(len(betas)), [f"{beta:g}" for beta in betas])
        axes.set_xlabel("α, strength on the pre-trained layers")
        axes.set_ylabel("β, strength on the new head")
        axes.set_title(f"mean {sweep.measure.axis} ± half its 95 % interval", loc="left", fontsize=9)
        (alpha, beta), best = max(grid.items(), key=lambda found: found[1].mean)
        return drawn(
            figure,
            "alpha-beta-grid",
            label=f"Heat map of {sweep.measure.label} over {len(alphas)} values of α and {len(betas)} of β. Highest: "
            f"{best.mean:.1f} % at α = {alpha:g}, β = {beta:g}.",
            caption=f"{sweep.table.title}: mean {sweep.measure.axis}, with half the width of its 95 % interval over "
            f"seeds; {runs_in_words(list(grid.values()))}; darker is higher.",
        )


def _cells(axes: Axes, grid: Grid, alphas: Sequence[float], betas: Sequence[float]) -> None:
    means = [point.mean for point in grid.values()]
    low, span = min(means), max(means) - min(means)
    for x, alpha in enumerate(alphas):
        for y, beta in enumerate(betas):
            point = grid.get((alpha, beta))
            if point is None:
                axes.text(x, y, "no run", ha="center", va="center", fontsize=8)
                continue
            strength = FAINTEST + (STRONGEST - FAINTEST) * ((point.mean - low) / span if span else 0.0)
            colour = method_colour("l2_sp").light
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, alpha=strength, linewidth=0))
            interval = point.group.interval
            width = "" if interval is None else f"\n± {(interval[1] - interval[0]) / 2:.1f}"
            axes.text(x, y, f"{point.mean:.1f}{width}", ha="center", va="center", fontsize=8)
