"""What a page is made of: sections with text, figures, tables, pictures; ``templates/parts.html`` draws each kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from markupsafe import Markup

from holdfast.report.gallery import Picture


class Part(Protocol):
    """A piece of a page; ``kind`` names the macro that draws it."""

    kind: ClassVar[str]


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Points:
    """Sentences as a list."""

    kind: ClassVar[str] = "points"
    items: Sequence[str]


@dataclass(frozen=True)
class Notes:
    """Sentences in small type; nothing where there are none."""

    kind: ClassVar[str] = "notes"
    items: Sequence[str]


@dataclass(frozen=True)
class Facts:
    """Names with their values, the first in bold."""

    kind: ClassVar[str] = "facts"
    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Figure:
    """A drawing with the sentence below it; a wide one takes the full line and may scroll.

    Attributes:
        drawing: markup whose texts are escaped: an SVG from ``figures`` or ``inline``, or a picture's element.
        caption: the sentence.
        wide: whether it takes the full line.
    """

    drawing: str
    caption: str
    wide: bool = False

    @property
    def markup(self) -> Markup:
        """The drawing as markup."""
        return Markup(self.drawing)


@dataclass(frozen=True)
class Figures:
    """Figures side by side where there is room."""

    kind: ClassVar[str] = "figures"
    items: Sequence[Figure]


@dataclass(frozen=True)
class Cell:
    """A table cell and what it is sorted by: a number, or its text where ``key`` is None."""

    text: str
    key: float | None = None

    @property
    def numeric(self) -> bool:
        """Whether the cell holds a number."""
        return self.key is not None

    @property
    def order(self) -> str:
        """The sorting key as an attribute's text; empty, hence last, where there is no number to sort by."""
        return "" if self.key is None or not math.isfinite(self.key) else repr(float(self.key))


def number_cell(text: str, key: float) -> Cell:
    """A cell sorted by ``key``."""
    return Cell(text, float(key))


@dataclass(frozen=True)
class Table:
    """A table whose columns a reader can sort; the first cell of a row names the row."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    folded: bool = False


@dataclass(frozen=True)
class Gallery:
    """Wrongly classified pictures with what was said of them."""

    kind: ClassVar[str] = "gallery"
    items: Sequence[Picture]


@dataclass(frozen=True)
class Fold:
    """Parts behind a line that opens them."""

    kind: ClassVar[str] = "fold"
    summary: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Section:
    """Parts below a heading; sections inside have the next smaller one.

    Attributes:
        id: letters, digits and hyphens, unique on the page.
        heading: of the section.
        parts: what it holds.
    """

    kind: ClassVar[str] = "section"
    id: str
    heading: str
    parts: Sequence[Part]
