"""``holdfast bench repeat``: the same runs once more."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.bench.app import DataRoot, Only, bench

if TYPE_CHECKING:
    from holdfast.bench.repeat import Repeated


@bench.command()
def repeat(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="folder that 'holdfast bench run' has written")],
    only: Only = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="how many runs of each cell; default: all")] = None,
    data_root: DataRoot = Path(),
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each run; others round otherwise")] = 1,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="JSON file for all figures, then and now")] = None,
) -> None:
    """Do finished runs once more and compare their figures with those written down.

    The folder itself is left as it is. Runs are done one after the other, so that their seconds compare where the
    machine does nothing else. The command ends with code 1 where any figure differs.
    """
    from holdfast.bench.asked import asked_one
    from holdfast.bench.grid import Scope
    from holdfast.bench.repeat import finished, repeated
    from holdfast.bench.store import check_results

    check_results(results)
    one = asked_one(results)
    scope = Scope(data_root.expanduser().absolute(), only or one.scope.only, one.scope.mini, seeds or one.scope.seeds)
    compared = []
    for each in repeated(finished(one.recipe, scope, results.absolute()), threads=threads):
        typer.echo(_comparison(each, one.recipe.metric))
        compared.append(each)
        if out is not None:
            _write(out, compared)
    differing = [each for each in compared if each.differing]
    elsewhere = dict.fromkeys(what for each in differing for what in each.elsewhere)
    typer.echo(f"{len(compared) - len(differing)} of {len(compared)} runs give the same figures to the last digit")
    if differing:
        typer.echo(f"here: {', '.join(elsewhere) or 'the same packages; another processor may round otherwise'}")
        raise typer.Exit(1)


def _write(out: Path, compared: Sequence[Repeated]) -> None:
    from holdfast.data.atomic import atomic_writer

    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_writer(out) as handle:
        handle.write((json.dumps({"runs": [each.as_data() for each in compared]}, indent=1) + "\n").encode())


def _comparison(each: Repeated, metric: str) -> str:
    """One run in a line: its figure now, and how it differs from the one written down."""
    name = f"test.{metric}"
    run = f"{each.job.cell.column}, {each.job.cell.row}, seed {each.job.seed}"
    now, before = each.after.get(name), each.before.get(name)
    took = f"{each.after['seconds']:.0f} s" if "seconds" in each.after else "time unknown"
    if not each.differing:
        return f"{run}: {metric} {now:.6f}, the same in all figures; {took}"
    return f"{run}: {metric} {now:.6f}, written down {before:.6f}; different: {', '.join(each.differing)}; {took}"
