"""``holdfast analyse angles`` and ``gradients``: what runs wrote down of their own course."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.analyse.app import AsJson, Out, analyse, finish

Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="folders of finished runs, compared side by side")]


@analyse.command("angles")
def angles(runs: Runs, out: Out = None, as_json: AsJson = False) -> None:
    """Show losses, and the angles between the gradients of task and penalty, over iterations.

    The runs must have been trained with --log-angles N; with --log-test-loss too, their test loss is drawn.
    """
    from holdfast.analysis.course.angles import angles

    finish(angles(runs), out, as_json)


@analyse.command("gradients")
def gradients(runs: Runs, out: Out = None, as_json: AsJson = False) -> None:
    """Show the norm of the gradient at each stage of the network over epochs.

    The runs must have been trained with --log-gradients.
    """
    from holdfast.analysis.course.gradients import gradients

    finish(gradients(runs), out, as_json)
