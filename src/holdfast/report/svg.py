"""Matplotlib figures as SVG that belongs to a page: its fonts, its colours on light and dark, one text alternative."""

from __future__ import annotations

import io
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
from matplotlib.figure import Figure

from holdfast.report.inline import inlined
from holdfast.report.palette import INK, MUTED, RULE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: the page's font, selectable, small
    "svg.hashsalt": "holdfast",  # the same figure gives the same bytes
    "font.size": 9,
    "axes.edgecolor": RULE.light,
    "axes.labelcolor": MUTED.light,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE.light,
    "grid.linewidth": 0.5,
    "xtick.color": RULE.light,
    "ytick.color": RULE.light,
    "xtick.labelcolor": MUTED.light,
    "ytick.labelcolor": MUTED.light,
    "text.color": INK.light,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.constrained_layout.use": True,
}


@contextmanager
def chart(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """A figure of ``width`` × ``height`` inches with one pair of axes, in the pages' style while the block lasts."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height))
        yield figure, figure.add_subplot()


@contextmanager
def panels(width: float, height: float, rows: int = 1, columns: int = 1, **how: Any) -> Iterator[tuple[Figure, Any]]:
    """A figure as ``chart`` gives it with several pairs of axes, an array of shape (rows, columns).

    Args:
        width: of the whole, in inches.
        height: of the whole, in inches.
        rows: of axes.
        columns: of axes.
        how: further arguments of ``Figure.subplots``, such as ``sharey`` and ``width_ratios``.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height))
        yield figure, figure.subplots(rows, columns, squeeze=False, **how)


def plain(text: object, most: int = 40) -> str:
    """``text`` as a figure can carry it: no control characters, at most ``most`` characters."""
    clean = "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in ("Cc", "Cs") else c for c in str(text))
    return clean if len(clean) <= most else clean[: most - 1] + "…"


def to_svg(figure: Figure, name: str, label: str) -> str:
    """Render as an inline ``<svg>`` that stretches to the width of its place.

    Args:
        figure: what to render; call within ``chart``.
        name: letters and hyphens, unique on the page; identifiers inside the figure begin with it.
        label: the text alternative, what a reader who cannot see the figure is told.
    """
    stored = io.BytesIO()
    with warnings.catch_warnings():
        # Class names may be in any script: the reader's browser draws them, so a glyph missing here does not matter.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font", category=UserWarning)
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(stored, format="svg", transparent=True, metadata=metadata)
    return inlined(ET.fromstring(stored.getvalue()), name, plain(label, 1000))
