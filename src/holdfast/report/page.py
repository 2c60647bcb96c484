"""One self-contained HTML page: templates with escaping, styles, figures and the sorting script inside."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from holdfast.data.atomic import atomic_writer
from holdfast.report.palette import style_variables


@dataclass(frozen=True)
class Figure:
    """An SVG from ``figures`` with the sentence below it; a wide one takes the full line and may scroll."""

    svg: str
    caption: str
    wide: bool = False

    @property
    def markup(self) -> Markup:
        """The SVG as markup: ``figures`` has escaped every text in it."""
        return Markup(self.svg)


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


@dataclass(frozen=True)
class Table:
    """A table whose columns a reader can sort; the first cell of a row names the row."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    folded: bool = False


def number_cell(text: str, key: float) -> Cell:
    """A cell sorted by ``key``."""
    return Cell(text, float(key))


def render(template: str, **content: Any) -> str:
    """Fill a template of ``templates/``; every value is escaped unless it is ``Markup`` made here."""
    script = _part("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(_part("style.css")),
            light=style_variables("light"),
            dark=style_variables("dark"),
            script=Markup(script),
            script_digest=digest,
            made_by=_made_by(),
            **content,
        )
    )


def write_page(path: Path, html: str) -> Path:
    """Write the page whole or not at all and return its path."""
    with atomic_writer(path) as handle:
        # Names of files may hold bytes that are no text; they are shown as escapes.
        handle.write(html.encode("utf-8", "backslashreplace"))
    return path


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("holdfast.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # A sentence must not break between a number and its per-cent sign.
    environment.filters["tied"] = lambda text: text.replace(" %", "\N{NO-BREAK SPACE}%")
    return environment


@cache
def _part(name: str) -> str:
    return (files("holdfast.report") / "templates" / name).read_text(encoding="utf-8")


def _made_by() -> str:
    try:
        return f"holdfast {version('holdfast')}"
    except PackageNotFoundError:
        return "holdfast"
