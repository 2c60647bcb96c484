"""``holdfast analyse rifle-oracle``, ``shrinkage`` and ``toy-neuron``: what the papers derive, without pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.analyse.app import AsJson, Out, analyse, finish

_Seeds = Annotated[int, typer.Option(min=2, help="independent simulations of each point")]


@analyse.command("rifle-oracle")
def rifle_oracle(
    seeds: Annotated[int, typer.Option(min=2, help="runs of each reading")] = 10,
    reading: Annotated[str, typer.Option(metavar="NAME|all", help="one reading of the paper's text")] = "all",
    workers: Annotated[int, typer.Option(min=1, help="runs at once, each in a process of its own")] = 1,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """RIFLE's experiment with two MLP oracles: test error and distance of the first layer, L2 against L2 + RIFLE.

    What the paper does not say is read in several ways; runs are kept as they come, and the same command goes on.
    """
    import torch

    from holdfast.analysis.theory.rifle_oracle.experiment import rifle_oracle as analysis
    from holdfast.cli.progress import bar

    torch.set_num_threads(1)  # these networks are too small to share
    folder = out or Path("analysis") / "rifle-oracle"
    try:
        with bar("runs") as progress:
            finding = analysis(folder, seeds=seeds, reading=reading, workers=workers, progress=progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"what is done is in {folder}; the same command goes on") from None
    finish(finding, folder, as_json)


@analyse.command("shrinkage")
def shrinkage(
    seeds: _Seeds = 20,
    draws: Annotated[int, typer.Option(min=2, help="responses drawn in each simulation")] = 200,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Bias and variance of least squares, L2 and L2-SP in linear regression: closed form against simulation."""
    from holdfast.analysis.theory.shrinkage.comparison import shrinkage as analysis

    finish(analysis(seeds, draws), out, as_json)


@analyse.command("toy-neuron")
def toy_neuron(
    seeds: _Seeds = 20,
    draws: Annotated[int, typer.Option(min=2, help="weights and targets drawn in each simulation")] = 2000,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Variance of PtR's gradient in one neuron: closed form, as printed and corrected, against simulation."""
    from holdfast.analysis.theory.toy_neuron.comparison import toy_neuron as analysis

    finish(analysis(seeds, draws), out, as_json)
