"""``holdfast evaluate``: measure a finished run's network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps", help="where to compute; auto: a GPU where one is")]


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="run folder that 'holdfast train' has written")],
    data: Annotated[
        Path | None,
        typer.Argument(metavar="[DATA]", help="folder with the run's class folders; by default the run's own pictures"),
    ] = None,
    part: Annotated[str, typer.Option(metavar="test|val|train", help="which part of the pictures")] = "test",
    ten_crop: Annotated[
        bool, typer.Option("--ten-crop", help="average over corners, centre and their mirror images")
    ] = False,
    device: Device = "auto",
    strict: Annotated[bool, typer.Option("--strict", help="an unreadable file of DATA is an error")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the figures as JSON")] = False,
) -> None:
    """Measure a finished run's network, on its own test pictures or on a folder of labelled ones."""
    from holdfast.train.evaluate import evaluate as predictions_on
    from holdfast.train.labelled import part_of_run, pictures_in
    from holdfast.train.loaded import load_run

    loaded = load_run(run)
    if data is None:
        pictures = part_of_run(loaded.folder, part)
    else:
        pictures = pictures_in(data, loaded.classes, part, strict=strict)
    for entry in pictures.skipped:
        typer.echo(f"skipped {entry.path}: {entry.reason}", err=True)
    figures = predictions_on(loaded, pictures, ten_crop=ten_crop, device=device).measures()
    of = f"{pictures.part} part of {pictures.root}" if pictures.part else str(pictures.root)
    if as_json:
        about = {"run": str(run), "data": str(pictures.root), "part": pictures.part or None, "ten_crop": ten_crop}
        counts = {"images": len(pictures.samples), "skipped": len(pictures.skipped)}
        typer.echo(json.dumps({**about, **counts, **figures}, indent=1, ensure_ascii=False))
        return
    typer.echo(f"{len(pictures.samples)} pictures: {of}{', ten crops' if ten_crop else ''}")
    for name, value in figures.items():
        shown = f"{100 * value:8.2f} %" if name.endswith("accuracy") else f"{value:8.4f}"
        typer.echo(f"{name.replace('_', ' '):20} {shown}")
