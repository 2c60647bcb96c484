"""``holdfast bench run`` and ``table``: doing a recipe's runs, and what came out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.bench.app import DataRoot, Only, Out, RecipeName, Scale, Seeds, bench, folder, scope

if TYPE_CHECKING:
    from holdfast.bench.local import Task


@bench.command()
def run(
    recipe: RecipeName,
    data_root: DataRoot = Path(),
    out: Out = None,
    seeds: Seeds = None,
    only: Only = None,
    scale: Scale = "full",
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
    from holdfast.bench.catalogue import load
    from holdfast.bench.local import Task
    from holdfast.core.errors import UsageError

    if executor not in ("local", "ray"):
        raise UsageError(f"expected --executor local or ray, got {executor!r}")
    if executor == "local" and (address is not None or gpus):
        raise UsageError("--address and --gpus are Ray's; add --executor ray")
    name, found = load(recipe)
    task = Task(found, scope(data_root, only, scale, seeds), folder(out, name), threads)
    if dry_run:
        _rehearse(task)
        return
    _run(task, executor, workers, address, gpus, retry=retry_failed)


@bench.command()
def table(
    recipe: RecipeName,
    out: Out = None,
    seeds: Seeds = None,
    only: Only = None,
    scale: Scale = "full",
    form: Annotated[str, typer.Option("--format", metavar="md|csv|latex|json", help="how to print it")] = "md",
) -> None:
    """Print the table of what is finished: ours, what is published, and the difference."""
    from holdfast.bench.catalogue import load
    from holdfast.bench.formats import FORMATS
    from holdfast.bench.plan import stored_plan
    from holdfast.bench.table import make_table
    from holdfast.core.errors import UsageError

    if form not in FORMATS:
        raise UsageError(f"expected --format {', '.join(FORMATS)}, got {form!r}")
    name, found = load(recipe)
    plan = stored_plan(found, scope(Path(), only, scale, seeds), folder(out, name))
    typer.echo(FORMATS[form](make_table(plan)), nl=False)


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
