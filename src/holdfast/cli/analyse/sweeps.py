"""``holdfast analyse`` of what ``holdfast bench`` has run: gains, freeze-sweep, alpha-beta-grid, rmt-sweep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.analyse.app import AsJson, Out, analyse, finish

if TYPE_CHECKING:
    from holdfast.analysis.sweeps.sweep import Sweep

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


@analyse.command("freeze-sweep")
def freeze_sweep(
    results: _Results,
    recipe: _Recipe = None,
    scale: _Scale = None,
    seeds: _Seeds = None,
    only: _Only = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Accuracy against the number of frozen layers, one line for each method that trains the rest."""
    from holdfast.analysis.sweeps.freeze_sweep import freeze_sweep as analysis

    finish(analysis(_sweep(results, recipe, scale, seeds, only)), out, as_json)


@analyse.command("alpha-beta-grid")
def alpha_beta_grid(
    results: _Results,
    recipe: _Recipe = None,
    scale: _Scale = None,
    seeds: _Seeds = None,
    only: _Only = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Accuracy of L²-SP over its strengths: α on the pre-trained layers, β on the new head."""
    from holdfast.analysis.sweeps.alpha_beta_grid import alpha_beta_grid as analysis

    finish(analysis(_sweep(results, recipe, scale, seeds, only)), out, as_json)


@analyse.command("rmt-sweep")
def rmt_sweep(
    results: _Results,
    recipe: _Recipe = None,
    scale: _Scale = None,
    seeds: _Seeds = None,
    only: _Only = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Accuracy of PtR over its ratio R, its targets' mean m and its threshold T, one at a time."""
    from holdfast.analysis.sweeps.rmt_sweep import rmt_sweep as analysis

    finish(analysis(_sweep(results, recipe, scale, seeds, only)), out, as_json)


@analyse.command()
def gains(
    results: _Results,
    recipe: _Recipe = None,
    scale: _Scale = None,
    seeds: _Seeds = None,
    only: _Only = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Which methods of a comparison help, and on what: gains by column, by images per class, by source."""
    from holdfast.analysis.sweeps.gains import gains as analysis

    finish(analysis(_sweep(results, recipe, scale, seeds, only)), out, as_json)


def _sweep(results: Path, recipe: str | None, scale: str | None, seeds: int | None, only: str | None) -> Sweep:
    from holdfast.analysis.sweeps.sweep import read_sweep
    from holdfast.core.errors import UsageError

    if scale not in (None, "full", "mini"):
        raise UsageError(f"expected --scale full or mini, got {scale!r}")
    return read_sweep(results, recipe, mini=None if scale is None else scale == "mini", seeds=seeds, only=only)
