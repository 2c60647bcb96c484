"""The app that the commands of ``holdfast bench`` join, and what they share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from holdfast.bench.grid import Scope

bench = typer.Typer(help="Compare methods over data, networks and seeds: a paper's table, or a recipe of your own.")

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="a name that 'bench list' shows, or a .yaml file")]
Out = Annotated[Path | None, typer.Option(metavar="FOLDER", help="where results are; default bench/ and the name")]
Seeds = Annotated[int | None, typer.Option(min=1, help="runs of each cell, in place of the recipe's number")]
Only = Annotated[str | None, typer.Option(metavar="EXPR", help="which cells: 'ptr and not (caltech* or cars)'")]
Scale = Annotated[str, typer.Option(metavar="full|mini", help="mini: made small, to see that everything runs")]
DataRoot = Annotated[Path, typer.Option(metavar="FOLDER", help="the recipe's data and weights lie here")]


def scope(root: Path, only: str | None, scale: str, seeds: int | None) -> Scope:
    """What the options ask for.

    Raises:
        UsageError: no such scale.
    """
    from holdfast.bench.grid import Scope
    from holdfast.core.errors import UsageError

    if scale not in ("full", "mini"):
        raise UsageError(f"expected --scale full or mini, got {scale!r}")
    return Scope(root.expanduser().absolute(), only, scale == "mini", seeds)


def folder(out: Path | None, name: str) -> Path:
    """Of the results of the recipe of this name."""
    return (Path("bench") / name if out is None else out).expanduser().absolute()
