"""``holdfast methods``: what there is, and each method's card."""

from __future__ import annotations

import inspect
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from holdfast.core.method import Method


def methods(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="show this method's card")] = None,
) -> None:
    """List the methods, or show one's card: formula, hyper-parameters, presets, sources."""
    from holdfast.core.errors import UsageError
    from holdfast.core.registry import methods as registered
    from holdfast.core.registry import nearest

    known = registered()
    if name is None:
        _list(known)
    elif name in known:
        _show(card(name, known[name]))
    else:
        raise UsageError(f"unknown method {name!r}{nearest(name, list(known))}")


def card(stem: str, method: type[Method]) -> str:
    """A method's card in Markdown: from the package, from a source checkout, or else its docstring."""
    packaged = resources.files("holdfast") / "cards" / f"{stem}.md"
    checkout = Path(__file__).parents[3] / "docs" / "methods" / f"{stem}.md"
    for place in (packaged, checkout):
        if place.is_file():
            return place.read_text(encoding="utf-8")
    return f"# {stem}\n\n{inspect.getdoc(method)}\n"


def _list(known: dict[str, type[Method]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("method", "what it does", "needs", "presets", box=box.SIMPLE_HEAD, pad_edge=False)
    for stem, method in known.items():
        table.add_row(stem, _one_line(method), _needs(method), ", ".join(method.presets))
    if not console.is_terminal:
        console.width = 1000  # not a screen's: lines stay whole for other programs
    console.print(table)
    console.print("holdfast methods NAME shows a method's card; join methods with +, as in 'l2_sp(alpha=0.1)+ptr(R=3)'")


def _one_line(method: type[Method]) -> str:
    return next(iter((inspect.getdoc(method) or "").splitlines()), "")


def _needs(method: type[Method]) -> str:
    taps = ["logits" if tap == "" else "representation" if tap == "rep" else tap for tap in method.taps]
    return ", ".join([*taps, *(["teacher"] if method.needs_teacher else []), *method.streams])


def _show(text: str) -> None:
    if not sys.stdout.isatty():
        typer.echo(text, nl=not text.endswith("\n"))
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))
