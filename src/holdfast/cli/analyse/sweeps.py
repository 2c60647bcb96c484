"""``holdfast analyse`` of what ``holdfast bench`` has run: gains, freeze-sweep, alpha-beta-grid, rmt-sweep."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.analyse.app import AsJson, Out, analyse, finish

_Results = Annotated[Path, typer.Argument(metavar="RESULTS", help="folder that 'holdfast bench run' has written")]
_Recipe = Annotated[
    str | None,
    typer.Option(metavar="NAME|FILE", help="the recipe that the results were made from; default: as the folder says"),
]
_Scale = Annotated[
    str | None, typer.Option(metavar="full|mini", help="the scale that they were made at; default: as the folder says")
]
_Seeds = Annotated[int | None, typer.Option(min=1, help="runs of each cell, in place of the recipe's number")]
_Only = Annotated[str | None, typer.Option(metavar="EXPR", help="which cells: 'flowers17 and not l2_sp*'")]

_ABOUT = {
    "freeze-sweep": "Accuracy against the number of frozen layers, one line for each method that trains the rest.",
    "alpha-beta-grid": "Accuracy of L²-SP over its strengths: α on the pre-trained layers, β on the new head.",
    "rmt-sweep": "Accuracy of PtR over its ratio R, its targets' mean m and its threshold T, one at a time.",
    "gains": "Which methods of a comparison help, and on what: gains by column, by images per class, by source.",
}


def _add(name: str, about: str) -> None:
    """A command that makes the finding of the function of this name, in the module of this name."""

    def command(
        results: _Results,
        recipe: _Recipe = None,
        scale: _Scale = None,
        seeds: _Seeds = None,
        only: _Only = None,
        out: Out = None,
        as_json: AsJson = False,
    ) -> None:
        from holdfast.analysis.sweeps.sweep import read_sweep
        from holdfast.core.errors import UsageError

        if scale not in (None, "full", "mini"):
            raise UsageError(f"expected --scale full or mini, got {scale!r}")
        mini = None if scale is None else scale == "mini"
        found = name.replace("-", "_")
        analysis = getattr(importlib.import_module(f"holdfast.analysis.sweeps.{found}"), found)
        finish(analysis(read_sweep(results, recipe, mini=mini, seeds=seeds, only=only)), out, as_json)

    command.__doc__ = about
    analyse.command(name)(command)


for _name, _about in _ABOUT.items():
    _add(_name, _about)
