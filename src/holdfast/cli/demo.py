"""``holdfast demo``: the methods compared on data and weights that the package brings."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from holdfast.bench.demo import Comparison


def demo(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="where reports and results go")] = Path("demo"),
    seeds: Annotated[int, typer.Option(min=2, help="runs of each method")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="print the summary as JSON, and nothing else")] = False,
) -> None:
    """Compare methods on written digits with two labels per class; takes about two minutes on two cores.

    A small network that was pre-trained on printed letters is fine-tuned at a rate chosen on validation, and again at
    ten times that rate. Writes a report page for each, and a JSON file per run.
    """
    from holdfast.bench.demo import compare, comparisons
    from holdfast.report.comparison import write_comparison

    started = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    finished = []
    for comparison in comparisons():
        results = _with_progress(comparison, seeds, quiet=as_json)
        comparison.write(results, out)
        page = write_comparison(
            results, out / f"{comparison.name}.html", title=comparison.title, notes=comparison.notes
        )
        finished.append((comparison, compare(results), page))
    summary = {
        "seconds": time.perf_counter() - started,
        "comparisons": {
            comparison.name: {
                "title": comparison.title,
                "notes": comparison.notes,
                "report": page.name,
                "methods": rows,
            }
            for comparison, rows, page in finished
        },
    }
    text = json.dumps(summary, indent=1)
    (out / "summary.json").write_text(text + "\n", encoding="utf-8")
    if as_json:
        typer.echo(text)
        return
    for comparison, rows, page in finished:
        _print(comparison, rows, page)
    typer.echo(f"{summary['seconds']:.0f} seconds in all; every run's figures are in {os.path.relpath(out)}")


def _with_progress(comparison: Comparison, seeds: int, *, quiet: bool) -> list[dict[str, Any]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        task = progress.add_task(comparison.name, total=len(comparison.settings) * seeds)
        return comparison.run(range(seeds), done=lambda: progress.advance(task))


def _print(comparison: Comparison, rows: list[dict[str, Any]], page: Path) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=comparison.title, box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    table.add_column("method")
    for heading in ("test accuracy, %", "gain over plain, points", "95 % interval", "seconds a run"):
        table.add_column(heading, justify="right")
    for row in rows:
        gain, interval = "", ""
        if row["gain"] is not None:
            low, high = (100 * row["gain"][end] for end in ("low", "high"))
            gain, interval = f"{100 * row['gain']['mean']:+.2f}", f"{low:+.2f} to {high:+.2f}"
        accuracy = f"{100 * row['mean']:.1f} ± {100 * row['std']:.1f}"
        table.add_row(row["method"], accuracy, gain, interval, f"{row['seconds']:.1f}")
    console = Console()
    if not console.is_terminal:
        console.width = 110
    console.print(table)
    typer.echo(f"report {os.path.relpath(page)}\n")
