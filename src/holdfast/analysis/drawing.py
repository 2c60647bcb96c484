"""A matplotlib figure as the files of a finding."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from holdfast.report.palette import Colour
from holdfast.report.svg import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DPI = 160
_DASHES: Sequence[Any] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))


@dataclass(frozen=True)
class Drawn:
    """A picture.

    Attributes:
        name: letters, digits and hyphens; the stem of its files, such as ``similarity-stages``.
        label: the text alternative, what a reader who cannot see it is told.
        caption: the sentence below it: what is drawn, from how many runs, images or seeds.
        svg: as SVG in the colours of the light scheme, without background.
        png: as PNG on white.
    """

    name: str
    label: str
    caption: str
    svg: bytes
    png: bytes

    @property
    def svg_file(self) -> str:
        """Name of the SVG file."""
        return f"{self.name}.svg"

    @property
    def png_file(self) -> str:
        """Name of the PNG file."""
        return f"{self.name}.png"


def drawn(figure: Figure, name: str, *, label: str, caption: str) -> Drawn:
    """Render a figure; call within ``report.svg.chart``, whose style it then has."""
    svg, png = io.BytesIO(), io.BytesIO()
    with warnings.catch_warnings():
        # Class names may be in any script; what draws the SVG may well have the glyph.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font", category=UserWarning)
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(svg, format="svg", transparent=True, metadata=metadata)
        figure.savefig(png, format="png", dpi=_DPI, facecolor="white", metadata={"Software": None})
    return Drawn(name, label, caption, svg.getvalue(), png.getvalue())


def dashes(colours: Sequence[Colour]) -> list[Any]:
    """A line style for each line, another one where a line before has the same colour: for methods that share one."""
    before = [list(colours[:place]).count(colour) for place, colour in enumerate(colours)]
    return [_DASHES[count % len(_DASHES)] for count in before]


def entitle(axes: Axes, text: str, width: int = 40) -> None:
    """Write what a panel shows above it, in lines of so many characters."""
    axes.set_title("\n".join(textwrap.wrap(plain(text, 3 * width), width)), fontsize=9, parse_math=False)
