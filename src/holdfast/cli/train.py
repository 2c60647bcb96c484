"""``holdfast train``: fine-tune a network on a folder of pictures."""

from __future__ import annotations

import json
import os
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.flags import parameters
from holdfast.core.errors import UsageError
from holdfast.train.settings import Settings

if TYPE_CHECKING:
    from holdfast.train.result import Result

_SettingsFile = Annotated[
    Path | None,
    typer.Option("--settings", metavar="FILE", help="repeat the run that wrote this settings.yaml; other flags win"),
]
_Json = Annotated[bool, typer.Option("--json", help="print the result as JSON, and nothing else, to stdout")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="say what would happen, and write nothing")]


def train(settings_file: Path | None = None, as_json: bool = False, dry_run: bool = False, **given: Any) -> None:
    """Fine-tune a network on a folder of pictures.

    The same command again resumes an interrupted run, and says so where it is finished. Everything goes into the run
    folder: settings, curves, predictions, weights that load in plain timm or torchvision, and a report page.
    """
    flags = {name: value for name, value in given.items() if value is not None}
    if settings_file is None and "data" not in flags:
        raise UsageError("missing DATA, the folder of pictures; --help shows what is expected")
    settings = Settings.of(**flags) if settings_file is None else Settings.read(settings_file, **flags)
    if dry_run:
        _rehearse(settings, as_json)
        return
    from holdfast.train.fit import leads, run

    result = run(settings)
    if leads():
        _show(result, as_json)


# Typer reads the flags from here; the settings are their only list.
train.__signature__ = Signature(  # type: ignore[attr-defined]
    [
        *parameters(),
        Parameter("settings_file", Parameter.KEYWORD_ONLY, default=None, annotation=_SettingsFile),
        Parameter("as_json", Parameter.KEYWORD_ONLY, default=False, annotation=_Json),
        Parameter("dry_run", Parameter.KEYWORD_ONLY, default=False, annotation=_DryRun),
    ]
)
del train.__annotations__


def _rehearse(settings: Settings, as_json: bool) -> None:
    """Print the plan of a run, and what its folder holds already."""
    from holdfast.train.fit import rehearse
    from holdfast.train.run_folder import RunFolder

    folder = RunFolder(settings.folder())
    state = folder.claim(settings)
    lines = rehearse(settings)
    if as_json:
        typer.echo(json.dumps({"settings": settings.model_dump(mode="json"), "state": state, "plan": lines}, indent=1))
        return
    for line in lines:
        typer.echo(line)


def _show(result: Result, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"run": str(result.folder), **result.figures}, indent=1, ensure_ascii=False))
        return
    for line in result.lines():
        typer.echo(line)
    typer.echo(f"run folder {os.path.relpath(result.folder)}")
