"""``holdfast analyse predictions`` and ``curves``: finished runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.analyse.app import AsJson, Out, analyse, finish
from holdfast.cli.evaluate import Device
from holdfast.cli.progress import bar


@analyse.command("predictions")
def predictions(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="run to compare with, such as plain fine-tuning")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="run that is compared, on the same pictures")],
    part: Annotated[str, typer.Option(metavar="test|val|train", help="which part of the pictures")] = "test",
    show: Annotated[int, typer.Option(min=0, help="rows of each gallery of rectifications; 0: none")] = 4,
    device: Device = "auto",
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Show what RUN_B changes in the predictions of RUN_A: certainty, entropy, mistakes mended and made."""
    from holdfast.analysis.pair.predictions import predictions as compared

    with bar("predictions") as progress:
        finding = compared(run_a, run_b, part=part, show=show, device=device, progress=progress)
    finish(finding, out, as_json)


@analyse.command("curves")
def curves(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="finished runs; those of a method are averaged")],
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Draw loss, accuracy and learning rate over the epochs, by method."""
    from holdfast.analysis.course.curves import curves as drawn

    finish(drawn(runs), out, as_json)
