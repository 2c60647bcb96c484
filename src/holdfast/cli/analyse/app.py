"""The app that the commands of ``holdfast analyse`` join, and what they share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from holdfast.analysis.finding import Finding

analyse = typer.Typer(help="See why it works: the papers' analyses, as figures, data and a paragraph.")

Out = Annotated[Path | None, typer.Option(metavar="FOLDER", help="where its files go; default analysis/ and the name")]
AsJson = Annotated[bool, typer.Option("--json", help="print the data as JSON, and nothing else")]


@analyse.command("list")
def list_analyses() -> None:
    """List the analyses and the question that each answers."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from holdfast.analysis.catalogue import ANALYSES

    console = Console()
    table = Table("analysis", "question", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, question in ANALYSES.items():
        table.add_row(name, question)
    if not console.is_terminal:
        console.width = 200  # not a screen's: lines stay whole for other programs
    console.print(table)


def finish(finding: Finding, out: Path | None, as_json: bool) -> None:
    """Write a finding's files, then print its data as JSON or its paragraph and where the files are."""
    path = finding.write(out or Path("analysis") / finding.analysis)
    if as_json:
        typer.echo(finding.as_json(), nl=False)
        return
    typer.echo(f"{finding.title}\n\n{finding.text}")
    for note in finding.notes:
        typer.echo(f"- {note}")
    pictures = ", ".join(each.png_file for each in finding.figures)
    typer.echo(f"\n{path.parent}: {path.name}" + (f", {pictures} (and .svg)" if pictures else ""))
