"""``holdfast bench``: comparisons over methods, data and seeds, and the papers' tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from holdfast.bench.grid import Scope
    from holdfast.bench.local import Task
    from holdfast.bench.recipe import Printed, Recipe, Row

bench = typer.Typer(help="Compare methods over data, networks and seeds: a paper's table, or a recipe of your own.")

_Recipe = Annotated[str, typer.Argument(metavar="RECIPE", help="a name that 'bench list' shows, or a .yaml file")]
_Out = Annotated[Path | None, typer.Option(metavar="FOLDER", help="where results are; default bench/ and the name")]
_Seeds = Annotated[int | None, typer.Option(min=1, help="runs of each cell, in place of the recipe's number")]
_Only = Annotated[str | None, typer.Option(metavar="EXPR", help="which cells: 'ptr and not (caltech* or cars)'")]
_Scale = Annotated[str, typer.Option(metavar="full|mini", help="mini: made small, to see that everything runs")]


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
    recipe: _Recipe, as_json: Annotated[bool, typer.Option("--json", help="print the recipe as JSON")] = False
) -> None:
    """Show a recipe: what it compares, how it trains, and the figures that its paper prints."""
    from holdfast.bench.catalogue import load

    name, found = load(recipe)
    if as_json:
        typer.echo(json.dumps({"name": name, **found.model_dump(mode="json")}, indent=1, ensure_ascii=False))
        return
    _show(name, found)


@bench.command()
def run(
    recipe: _Recipe,
    data_root: Annotated[Path, typer.Option(metavar="FOLDER", help="the recipe's data and weights lie here")] = Path(),
    out: _Out = None,
    seeds: _Seeds = None,
    only: _Only = None,
    scale: _Scale = "full",
    executor: Annotated[str, typer.Option(metavar="local|ray", help="processes here, or a Ray cluster")] = "local",
    workers: Annotated[int | None, typer.Option(min=1, help="runs at once; default: one per core")] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each run")] = 1,
    address: Annotated[str | None, typer.Option(help="Ray cluster to join; default: begin one here")] = None,
    gpus: Annotated[float, typer.Option(min=0, help="with Ray: devices of each run, or a fraction of one")] = 0.0,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="try failed runs again")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="list the runs and their state, and do none")] = False,
) -> None:
    """Do the runs of a recipe that are not done yet; the same command goes on where it was stopped.

    Any number of these commands may work on one folder, on one machine or several. A run that fails is a row with its
    reason, and stops no other.
    """
    from holdfast.bench.local import Task
    from holdfast.core.errors import UsageError

    if executor not in ("local", "ray"):
        raise UsageError(f"expected --executor local or ray, got {executor!r}")
    if executor == "local" and (address is not None or gpus):
        raise UsageError("--address and --gpus are Ray's; add --executor ray")
    name, found = _load(recipe)
    task = Task(found, _scope(data_root, only, scale, seeds), _folder(out, name), threads)
    if dry_run:
        _rehearse(task)
        return
    _run(task, executor, workers, address, gpus, retry=retry_failed)


@bench.command()
def table(
    recipe: _Recipe,
    out: _Out = None,
    seeds: _Seeds = None,
    only: _Only = None,
    scale: _Scale = "full",
    form: Annotated[str, typer.Option("--format", metavar="md|csv|latex|json", help="how to print it")] = "md",
) -> None:
    """Print the table of what is finished: ours, what is published, and the difference."""
    from holdfast.bench.formats import FORMATS
    from holdfast.bench.plan import stored_plan
    from holdfast.bench.table import make_table
    from holdfast.core.errors import UsageError

    if form not in FORMATS:
        raise UsageError(f"expected --format {', '.join(FORMATS)}, got {form!r}")
    name, found = _load(recipe)
    plan = stored_plan(found, _scope(Path(), only, scale, seeds), _folder(out, name))
    typer.echo(FORMATS[form](make_table(plan)), nl=False)


def _load(recipe: str) -> tuple[str, Recipe]:
    from holdfast.bench.catalogue import load

    return load(recipe)


def _scope(root: Path, only: str | None, scale: str, seeds: int | None) -> Scope:
    from holdfast.bench.grid import Scope
    from holdfast.core.errors import UsageError

    if scale not in ("full", "mini"):
        raise UsageError(f"expected --scale full or mini, got {scale!r}")
    return Scope(root.expanduser().absolute(), only, scale == "mini", seeds)


def _folder(out: Path | None, name: str) -> Path:
    return (Path("bench") / name if out is None else out).expanduser().absolute()


def _run(task: Task, executor: str, workers: int | None, address: str | None, gpus: float, *, retry: bool) -> None:
    from rich.console import Console

    from holdfast.bench.plan import make_plan
    from holdfast.bench.runner import Machines, run_bench
    from holdfast.bench.status import failures

    console = Console(stderr=True)
    if retry:
        plan = make_plan(task.recipe, task.scope, task.out, writes=True)
        plan.store.forgive(job.name for job in (*plan.trials(), *plan.final()))
    try:
        status = run_bench(task, Machines(executor, workers, address, gpus), console)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"what is done is in {task.out}; the same command goes on") from None
    typer.echo(status.line)
    for reason, times in failures(make_plan(task.recipe, task.scope, task.out, writes=False)).items():
        typer.echo(f"failed{f' {times} times' if times > 1 else ''}: {reason}", err=True)
    if status.sum("failed"):
        raise typer.Exit(1)


def _rehearse(task: Task) -> None:
    from holdfast.bench.plan import make_plan

    plan = make_plan(task.recipe, task.scope, task.out, writes=False)
    finished, failed = plan.store.finished(), plan.store.failed()
    lines = [f"not run: {what}: {reason}" for what, reason in plan.left_out.items()]
    for job in (*plan.trials(), *plan.final()):
        state = "finished" if job.name in finished else "failed" if job.name in failed else "to do"
        values = ", ".join(f"{name}={value}" for name, value in job.values.items())
        stage = "trial" if job.stage == "tune" else "final"
        lines.append(f"{job.name}  {state:8}  {stage}  {job.cell.column}  {job.cell.row}  seed {job.seed}  {values}")
    later = plan.unknown()
    lines += [f"and {later} runs whose values depend on open trials"] if later else []
    typer.echo("\n".join(line.rstrip() for line in lines))


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
