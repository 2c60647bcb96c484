"""``holdfast analyse`` of what training did to a network: source-drop, similarity, fisher."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from holdfast.cli.analyse.app import AsJson, Out, analyse, finish
from holdfast.cli.evaluate import Device
from holdfast.cli.progress import bar

if TYPE_CHECKING:
    from holdfast.analysis.trained.unit_similarity import Units
    from holdfast.train.loaded import LoadedRun

_Run = Annotated[Path, typer.Argument(metavar="RUN", help="run folder that 'holdfast train' has written")]
_Weights = Annotated[
    Path | None, typer.Option(metavar="FILE", help="the weights that the run began with, where they have moved")
]
_Part = Annotated[str, typer.Option(metavar="test|val|train", help="which part of the pictures")]


@analyse.command("source-drop")
def source_drop(
    run: _Run,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="class folders of the source task; default: the run's own --source"),
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="names of the source head's classes in its order, one in each line"),
    ] = None,
    part: _Part = "test",
    weights: _Weights = None,
    device: Device = "auto",
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Accuracy lost on the source task: the fine-tuned body with the original head, against the starting point.

    Class folders are matched with the original head by name where the names of its classes are known (--classes, or a
    run's weights that lie in its folder still), else by number, else in the order of their names if there are as many.
    """
    from holdfast.analysis.trained.source_drop import source_drop as analysis
    from holdfast.train.origin import starting_point
    from holdfast.train.source_task import read_classes, source_folder, source_head, source_pictures

    loaded = _loaded(run)
    origin = starting_point(loaded, weights)
    source_head(origin)  # refuses a run without one before it asks for pictures
    names = None if classes is None else read_classes(classes)
    source = source_pictures(source_folder(origin) if data is None else data, origin, names=names, part=part)
    finish(analysis(loaded, origin, source, device=device, bar=bar), out, as_json)


@analyse.command("similarity")
def similarity(
    run: _Run,
    data: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="class folders of any pictures; default: the run's own")
    ] = None,
    part: _Part = "test",
    layers: Annotated[
        str, typer.Option(metavar="stages|blocks|NAMES", help="whose units: paths of modules, joined by commas")
    ] = "stages",
    units: Annotated[
        str, typer.Option(metavar="channels|positions", help="a unit: a channel, or each of its positions")
    ] = "channels",
    weights: _Weights = None,
    device: Device = "auto",
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """How far units keep their roles: R² of each unit's activation after fine-tuning on that before, layer by layer."""
    from holdfast.analysis.trained.similarity import similarity as analysis
    from holdfast.train.labelled import class_folders, part_of_run, pictures_in
    from holdfast.train.origin import starting_point

    loaded = _loaded(run)
    pictures = part_of_run(loaded.folder, part) if data is None else pictures_in(data, class_folders(data, part), part)
    origin = starting_point(loaded, weights)
    with bar("pictures") as progress:
        found = analysis(
            loaded,
            origin,
            pictures,
            layers=layers,
            units=cast("Units", units),
            device=device,
            progress=progress,
        )
    finish(found, out, as_json)


@analyse.command("fisher")
def fisher(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="F.safetensors, which 'holdfast fisher' has written")],
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """The diagonal Fisher information layer by layer: which weights the source task depends on."""
    from holdfast.analysis.trained.fisher import fisher as analysis

    finish(analysis(file), out, as_json)


def _loaded(run: Path) -> LoadedRun:
    """A finished run's network; where there is no such run, the nearest name is offered."""
    from holdfast.analysis.finished import finished
    from holdfast.train.loaded import load_run

    finished(run)
    return load_run(run)
