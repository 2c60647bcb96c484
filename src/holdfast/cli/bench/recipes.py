"""``holdfast bench list`` and ``show``: what can be compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.bench.app import RecipeName, bench

if TYPE_CHECKING:
    from holdfast.bench.recipe import Printed, Recipe, Row


@bench.command("list")
def list_recipes() -> None:
    """List the papers' tables and the examples."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from holdfast.bench.catalogue import load, names

    console = Console()
    table = Table("recipe", "title", "table", "methods", "columns", "seeds", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in names():
        _, recipe = load(name)
        printed = "" if recipe.paper is None else recipe.paper.table
        table.add_row(
            name, recipe.title, printed, str(len(recipe.methods)), str(len(recipe.columns)), str(recipe.seeds)
        )
    if not console.is_terminal:
        console.width = 200  # not a screen's: lines stay whole for other programs
    console.print(table)


@bench.command()
def show(
    recipe: RecipeName, as_json: Annotated[bool, typer.Option("--json", help="print the recipe as JSON")] = False
) -> None:
    """Show a recipe: what it compares, how it trains, and the figures that its paper prints."""
    from holdfast.bench.catalogue import load

    name, found = load(recipe)
    if as_json:
        typer.echo(json.dumps({"name": name, **found.model_dump(mode="json")}, indent=1, ensure_ascii=False))
        return
    _show(name, found)


def _show(name: str, recipe: Recipe) -> None:
    """A recipe in words, then the figures that its paper prints."""
    from holdfast.bench.catalogue import protocol

    typer.echo(f"{name}: {recipe.title}")
    if recipe.paper is not None:
        place = recipe.paper.table if recipe.paper.table.startswith("Figure") else f"table {recipe.paper.table}"
        typer.echo(f"printed    {recipe.paper.key}, {place}{_remark(recipe.paper.note)}")
    typer.echo(f"runs       {recipe.seeds} seeds, {recipe.metric}, protocol {recipe.protocol or 'none'}")
    base = protocol(recipe.protocol) if recipe.protocol is not None else None
    settings = {**(base.settings if base else {}), **recipe.settings}
    if settings:
        typer.echo(f"training   {', '.join(f'{name}: {value}' for name, value in settings.items())}")
    if recipe.data_only is not None:
        typer.echo(f"not run    {recipe.data_only}")
    if recipe.tuning is not None:
        trials = "every point of each grid" if recipe.tuning.trials is None else f"{recipe.tuning.trials} trials a row"
        typer.echo(f"tuning     by {recipe.tuning.by}, {trials}, {recipe.tuning.seeds} seed(s) each")
    for key, data in recipe.data.items():
        few = "" if data.samples_per_class is None else f", {data.samples_per_class} per class"
        few += "".join(f", {n} {what}" for what, n in (("seeds", data.seeds), ("trials a row", data.trials)) if n)
        own = "".join(f", {name}: {value}" for name, value in data.settings.items())
        typer.echo(f"data       {key}: {data.data}{few}{own}{_remark(data.note)}")
    for key, model in recipe.models.items():
        start = ", ".join(part for part in (model.source, model.weights) if part) or "published weights"
        own = "".join(f", {name}: {value}" for name, value in model.settings.items())
        typer.echo(f"network    {key}: {model.model}, from {start}{own}{_remark(model.note)}")
    for key, row in recipe.methods.items():
        typer.echo(f"method     {key}: {'; '.join(_row(row))}{_remark(row.note)}")
    for note in (*recipe.notes, *(base.deviations if base else ())):
        typer.echo(f"note       {note}")
    digits = max((_digits(figure) for figure in recipe.published), default=0)
    for figure in recipe.published:
        typer.echo(f"published  {figure.row}, {figure.column}: {_figure(figure, digits)}")


def _remark(note: str) -> str:
    return f" ({' '.join(note.split())})" if note else ""


def _row(row: Row) -> Iterator[str]:
    """What a row runs, and how that differs from the others."""
    yield "not run" if row.method is None else row.method
    yield from (f"{name} in {o if isinstance(o, list) else o.model_dump()}" for name, o in row.search.items())
    if row.reuse is not None:
        yield f"values of {row.reuse}"
    yield from (f"{name}: {value}" for name, value in row.settings.items())
    if row.columns is not None:
        yield f"in {', '.join(row.columns)}"


def _digits(figure: Printed) -> int:
    """Decimals of the most exact number."""
    numbers = (figure.value, figure.std, figure.gain, figure.gain_std, figure.error_reduction)
    return max(len(repr(number).partition(".")[2]) for number in numbers if number is not None)


def _figure(figure: Printed, digits: int) -> str:
    """All that is printed of a cell."""
    metric = figure.metric.replace("_", " ")
    spread = "" if figure.std is None else f" ± {figure.std:.{digits}f}"
    said = [] if figure.value is None else [f"{figure.value:.{digits}f}{spread} {metric}"]
    if figure.gain is not None:
        spread = "" if figure.gain_std is None else f" ± {figure.gain_std:.{digits}f}"
        over = "" if figure.baseline is None else f" over {figure.baseline:.{digits}f}"
        said.append(f"gain {figure.gain:+.{digits}f}{spread}{over}")
    if figure.error_reduction is not None:
        said.append(f"{figure.error_reduction:.{digits}f} % of the errors avoided")
    said += ["quoted"] if figure.origin == "quoted" else []
    return f"{', '.join(said)}{' ?' if figure.doubtful else ''}{_remark(figure.note)}"
