"""Box plots of many numbers, by quantiles alone: they survive a logarithmic axis and need no number drawn by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from numpy.typing import NDArray

from holdfast.report.palette import Colour
from holdfast.report.svg import plain

MEANING = "box: quartiles and median; whiskers: 5th and 95th percentile"
"""What is drawn, for captions."""
_NAMED = 60
"""Up to here every box has its name below it."""


@dataclass(frozen=True)
class Box:
    """The quantiles of some numbers, linear between neighbours as ``numpy.quantile`` has it.

    Attributes:
        count: how many numbers.
        minimum: the smallest.
        low: 5 % lie below.
        q1: a quarter lies below.
        median: half lies below.
        q3: three quarters lie below.
        high: 95 % lie below.
        maximum: the largest.
    """

    count: int
    minimum: float
    low: float
    q1: float
    median: float
    q3: float
    high: float
    maximum: float

    def as_data(self) -> dict[str, Any]:
        """For a finding."""
        return asdict(self)


def box_of(values: NDArray[Any]) -> Box | None:
    """The quantiles of finite numbers, in float64; None without any."""
    if not values.size:
        return None
    found = np.quantile(values.astype(np.float64), (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1))
    return Box(values.size, *found.tolist())


def draw_boxes(axes: Axes, boxes: Sequence[Box | None], names: Sequence[str], colour: Colour) -> None:
    """Boxes side by side, at 0, 1, 2 and so on, with their names below; a gap where there is none."""
    stats = [
        {"med": b.median, "q1": b.q1, "q3": b.q3, "whislo": b.low, "whishi": b.high} for b in boxes if b is not None
    ]
    line = {"color": colour.light, "linewidth": 1.0}
    axes.bxp(
        stats,
        positions=[place for place, box in enumerate(boxes) if box is not None],
        widths=0.6,
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": to_rgba(colour.light, 0.25), "edgecolor": colour.light},
        medianprops={"color": colour.light, "linewidth": 1.8},
        whiskerprops=line,
        capprops=line,
    )
    axes.set_xlim(-0.7, len(boxes) - 0.3)
    axes.grid(False, axis="x")
    _name(axes, names)


def _name(axes: Axes, names: Sequence[str]) -> None:
    """Every name where there is room, else evenly spaced ones: the data name them all."""
    step = 1 if len(names) <= _NAMED else math.ceil(len(names) / _NAMED)
    places = range(0, len(names), step)
    small = len(names) > 12
    axes.set_xticks(
        places, [plain(names[place], 34) for place in places], rotation=90 if small else 0, fontsize=7 if small else 9
    )
    for tick in axes.get_xticklabels():
        tick.set_parse_math(False)
