"""One self-contained HTML page: templates with escaping, styles, figures and the sorting script inside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from holdfast.data.atomic import atomic_writer
from holdfast.report.palette import style_variables
from holdfast.report.parts import Section

REPORT = "report.html"
"""Name of a page in its folder."""


def render(title: str, lead: Sequence[str], sections: Sequence[Section], *, contents: bool = False) -> str:
    """A page; every text is escaped.

    Args:
        title: the heading.
        lead: paragraphs below it.
        sections: from top to bottom; their identifiers and those of their figures differ.
        contents: whether links to the sections stand above them.
    """
    script = _part("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return (
        _environment()
        .get_template("page.html")
        .render(
            title=title,
            lead=lead,
            sections=sections,
            contents=contents,
            style=Markup(_part("style.css")),
            light=style_variables("light"),
            dark=style_variables("dark"),
            script=Markup(script),
            script_digest=digest,
            made_by=_made_by(),
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
