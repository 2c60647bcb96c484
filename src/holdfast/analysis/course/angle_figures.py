"""The figures of losses and angles over iterations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.ndimage import median_filter  # type: ignore[import-untyped]

from holdfast.analysis.drawing import Drawn, dashes, drawn, entitle
from holdfast.report.measures import counted, fixed
from holdfast.report.palette import MUTED
from holdfast.report.svg import panels, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from holdfast.analysis.course.angles import Trajectory

_PANEL, _HEIGHT, _LEGEND_LINE = 3.3, 3.0, 0.2
_POINTS = 40  # of a running median, so that it is read as a line
_DASHED = (0, (4, 1.5))
_LOSSES = (
    ("logged", "task loss J of a batch (nats)", "J"),
    ("validation", "validation loss (nats)", "validation loss"),
    ("test", "test loss (nats)", "test loss"),
)
_ANGLES = (
    ("angles-task", "angle to the task's gradient ∇J (degrees)", ("angle1", "angle3")),
    ("angles-penalty", "angle to the penalty's gradient ∇Ω (degrees)", ("angle2", "angle4")),
    ("angles-between", "angle between ∇J and ∇Ω (degrees)", ("angle",)),
)
_LINES = {
    "angle": "∇J and ∇Ω",
    "angle1": "direction taken (angle 1)",
    "angle2": "direction taken (angle 2)",
    "angle3": "plain sum (angle 3)",
    "angle4": "plain sum (angle 4)",
}


def smooth(values: Sequence[float]) -> tuple[NDArray[np.float64], int]:
    """The running median of values, and over how many: an odd number, such that about ``_POINTS`` windows fit in."""
    window = 2 * (len(values) // (2 * _POINTS)) + 1
    return np.asarray(median_filter(np.asarray(values, dtype=np.float64), size=window, mode="nearest")), window


def loss_figure(read: Sequence[Trajectory]) -> Drawn:
    """Empirical, validation and test loss, a panel each, with a line for each run that has it."""
    shown = [each for each in _LOSSES if any(getattr(run, each[0])["loss"] for run in read)]
    styles = dashes([each.run.colour for each in read])
    windows: set[int] = set()
    width = max(5.0, _PANEL * len(shown))
    with panels(width, _HEIGHT + _LEGEND_LINE * len(read), 1, len(shown)) as (figure, (places,)):
        for axes, (part, axis, _) in zip(places, shown, strict=True):
            for each, style in zip(read, styles, strict=True):
                steps, values = getattr(each, part).values()
                if part == "logged":
                    windows |= {_course(axes, steps, values, each.run.colour.light, style, each.run.name)}
                elif values:
                    axes.plot(steps, values, color=each.run.colour.light, linestyle=style, marker="o", markersize=3)
            _name(axes, axis)
        _legend(figure.legend(loc="outside upper left"))
        told = "; ".join(
            f"{each.run.name}: " + ", ".join(_ends(what, getattr(each, part)["loss"]) for part, _, what in shown)
            for each in read
        )
        caption = (
            f"Losses over iterations: J on the batch of each of {_steps(read)}, {_medians(windows)}; the others at the "
            f"ends of epochs; {counted(len(read), 'run')}."
        )
        return drawn(figure, "angles-losses", label=f"Curves of losses over iterations. {told}.", caption=caption)


def angle_figures(read: Sequence[Trajectory]) -> list[Drawn]:
    """One figure for each gradient that directions are compared with, and one of the two gradients themselves."""
    with_angles = [each for each in read if each.angles]
    return [_angle_figure(name, axis, wanted, with_angles) for name, axis, wanted in _ANGLES if with_angles]


def _angle_figure(name: str, axis: str, wanted: Sequence[str], read: Sequence[Trajectory]) -> Drawn:
    """A panel for each run."""
    windows, told = set(), []
    right = name != "angles-task"  # where the angles lie around 90°
    width = max(5.0, _PANEL * len(read))
    with panels(width, _HEIGHT + 0.5, 1, len(read), sharey=True) as (figure, (places,)):
        for axes, each in zip(places, read, strict=True):
            if right:
                axes.axhline(90, color=MUTED.light, linewidth=0.8, linestyle=(0, (1, 1.5)))
            for angle in (angle for angle in wanted if angle in each.angles):
                # what a rule did not take is dashed; without a rule the plain sum is what was taken
                taken = angle not in ("angle3", "angle4") or "angle1" not in each.angles
                steps, values = each.angles[angle].values()
                style = "-" if taken else _DASHED
                windows.add(_course(axes, steps, values, each.run.colour.light, style, _LINES[angle]))
                told.append(f"{each.run.name}, {_LINES[angle]}: median {fixed(float(np.median(values)), 1)}°")
            _name(axes, axis if axes is places[0] else "")
            entitle(axes, each.run.name)
            _legend(axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, fontsize=8))
        caption = (
            f"{axis[0].upper()}{axis[1:].removesuffix(' (degrees)')} at {_steps(read)}, {_medians(windows)}"
            f"{'; dotted: 90°' * right}; {counted(len(read), 'run')}."
        )
        return drawn(figure, name, label=f"Curves of the {axis} over iterations. {'; '.join(told)}.", caption=caption)


def _course(axes: Axes, steps: Sequence[float], values: Sequence[float], colour: str, style: Any, label: str) -> int:
    """Values as faint dots with their running median; returns its window."""
    line, window = smooth(values)
    # as a picture within the SVG: ten thousand dots would be a megabyte
    axes.plot(steps, values, ".", color=colour, alpha=0.25, markersize=3, markeredgewidth=0, rasterized=True)
    axes.plot(steps, line, color=colour, linestyle=style, label=plain(label, 80))
    return window


def _name(axes: Axes, axis: str) -> None:
    axes.set_xlabel("optimiser steps taken")
    axes.set_ylabel(axis)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.yaxis.set_tick_params(labelleft=True)


def _legend(legend: Any) -> None:
    for text in legend.get_texts():
        text.set_parse_math(False)


def _ends(what: str, values: Sequence[float]) -> str:
    return f"{what} from {fixed(values[0], 3)} to {fixed(values[-1], 3)}" if values else f"no {what}"


def _steps(read: Sequence[Trajectory]) -> str:
    counts = list(dict.fromkeys(len(each.logged["step"]) for each in read))
    return f"{' or '.join(map(str, counts))} logged steps of a run"


def _medians(windows: set[int]) -> str:
    spans = " or ".join(map(str, sorted(windows)))
    return "a dot each, joined by a line" if windows == {1} else f"a dot each, lines being running medians over {spans}"
