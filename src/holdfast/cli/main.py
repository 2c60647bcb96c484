"""The ``holdfast`` command: its verbs, and errors turned into one line and an exit code.

Nothing here imports torch, timm, Lightning or matplotlib; the verbs import what they need when they run.
"""

from __future__ import annotations

import functools
import importlib
import io
import os
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import typer

from holdfast import __version__
from holdfast.cli.failures import StoppedError, in_one_line

VERBS = (
    "train",
    "evaluate",
    "predict",
    "export",
    "fisher",
    "methods",
    "datasets",
    "bench",
    "demo",
    "analyse",
    "report",
)
"""Each is a function of this name in the module of this name, or an app of several."""

INTERRUPTED = 130


def make_app(verbs: tuple[str, ...] = VERBS) -> typer.Typer:
    """The command with these verbs."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.callback()(_common)
    for verb in verbs:
        found = getattr(importlib.import_module(f"holdfast.cli.{verb}"), verb)
        if isinstance(found, typer.Typer):
            app.add_typer(_stoppable_app(found), name=verb)
        else:
            app.command(verb)(_stoppable(found))
    return app


def _stoppable_app(app: typer.Typer) -> typer.Typer:
    """An app whose commands are stoppable."""
    made = typer.Typer(help=app.info.help)
    for command in app.registered_commands:
        assert command.callback is not None
        made.command(command.name)(_stoppable(command.callback))
    return made


def _stoppable(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb with an interruption that keeps its words: typer would replace it by a bare exit."""

    @functools.wraps(verb)
    def run(**given: Any) -> None:
        try:
            verb(**given)
        except KeyboardInterrupt as stop:
            raise StoppedError(str(stop)) from stop

    return run


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"holdfast {__version__}")
        raise typer.Exit


def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version and exit")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="show where an error came from; may stand anywhere (or HOLDFAST_DEBUG=1)")
    ] = False,
) -> None:
    """Fine-tune pre-trained networks on small sets of pictures, with regularisation that fits them."""


def main() -> None:
    """Run the command line and exit: 0, or 2 for what the user can mend, 130 when interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # file names that are no valid text go out as they came in
    sys.exit(command(sys.argv[1:]))


def command(args: list[str]) -> int:
    """Run the command line with these arguments; returns the exit code."""
    flags = args[: args.index("--")] if "--" in args else args
    debug = "--debug" in flags or os.environ.get("HOLDFAST_DEBUG", "0") not in ("", "0")
    rest = [a for a in flags if a != "--debug"] + args[len(flags) :]
    verb = next((a for a in rest if not a.startswith("-")), None)
    try:
        # One verb is built on its own: the others' flags are not needed then.
        app = make_app((verb,) if verb in VERBS else VERBS)
        code = app(rest or ["--help"], standalone_mode=False, prog_name="holdfast")
        return code if isinstance(code, int) else 0
    except (Exception, KeyboardInterrupt) as error:
        line = in_one_line(error)
        if line is None:
            raise
        if debug:
            traceback.print_exc()
        interrupted = isinstance(error, StoppedError | typer.Abort | KeyboardInterrupt)
        print(line if interrupted else f"error: {line}", file=sys.stderr)
        return INTERRUPTED if interrupted else 2
