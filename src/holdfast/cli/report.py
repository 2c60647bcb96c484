"""``holdfast report``: one page of whatever a folder holds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def report(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="runs, a bench's or demo's results, analyses, or folders of these")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="the page; default report.html in the folder")
    ] = None,
) -> None:
    """Make one self-contained HTML page of the runs, comparisons and analyses in a folder and below.

    It says first which method did what and how sure that is; then tables, curves, mistakes and analyses, with settings
    and versions at the end. It needs no network.
    """
    from rich.console import Console

    from holdfast.report.document import write_report

    with Console(stderr=True).status("making the page"):
        page = write_report(folder, out)
    typer.echo(f"report {os.path.relpath(page)}")
