"""``holdfast predict``: what a finished run's network says of pictures."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.evaluate import Device

if TYPE_CHECKING:
    from holdfast.train.predict import Prediction


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="run folder that 'holdfast train' has written")],
    files: Annotated[list[Path], typer.Argument(metavar="FILES...", help="pictures, and folders of pictures")],
    device: Device = "auto",
    strict: Annotated[bool, typer.Option("--strict", help="exit with an error if any file is unreadable")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of CSV")] = False,
) -> None:
    """Name the class of pictures: path, predicted class, its probability, and the next classes, as CSV."""
    from holdfast.core.errors import DataError
    from holdfast.data.index import Skipped
    from holdfast.train.loaded import load_run
    from holdfast.train.predict import predict as predictions_of

    loaded = load_run(run)
    skipped: list[Skipped] = []

    def made() -> Iterator[Prediction]:
        for found in predictions_of(loaded, files, device=device):
            if isinstance(found, Skipped):
                skipped.append(found)
                typer.echo(f"skipped {found.path}: {found.reason}", err=True)
            else:
                yield found

    count = _write_json(made()) if as_json else _write_csv(made(), loaded.classes)
    if not count:
        raise DataError(
            f"none of the {len(skipped)} file(s) could be read as a picture" if skipped else _nothing(files)
        )
    if strict and skipped:
        raise DataError(f"{len(skipped)} file(s) could not be read as pictures, such as {skipped[0].path}")


def _nothing(files: list[Path]) -> str:
    return f"no files in {', '.join(map(str, files))}; expected pictures, or folders of pictures"


def _write_csv(predictions: Iterator[Prediction], classes: tuple[str, ...]) -> int:
    from holdfast.train.evaluate import cells_of_top, columns_of_top

    writer = csv.writer(sys.stdout, lineterminator="\n")
    count = 0
    for count, found in enumerate(predictions, start=1):
        if count == 1:
            writer.writerow(["path", *columns_of_top(classes)])
        writer.writerow([found.path, *cells_of_top(found.top)])
    return count


def _write_json(predictions: Iterator[Prediction]) -> int:
    found = [
        {
            "path": each.path,
            "predicted": each.top[0][0],
            "confidence": each.top[0][1],
            "top": [{"class": name, "probability": p} for name, p in each.top],
        }
        for each in predictions
    ]
    if found:
        typer.echo(json.dumps(found, indent=1))
    return len(found)
