"""How far units keep their roles in fine-tuning: R² of their activations before and after (L2-SP, §5.3, Figure 4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import get_args

import torch
from torch import Tensor

from holdfast.analysis.boxes import MEANING, Box, draw_boxes
from holdfast.analysis.drawing import Drawn, drawn
from holdfast.analysis.finding import Finding
from holdfast.analysis.trained.unit_similarity import LayerR2, Units, named_layers, r2_of
from holdfast.core.errors import UsageError
from holdfast.core.layers import STAGES
from holdfast.data.augment import EvalTransform, eval_side, normalise
from holdfast.data.cache import ImageStore
from holdfast.data.examine import Progress
from holdfast.data.frame import side_of
from holdfast.data.loader import ImageDataset, batches
from holdfast.models.preprocessing import Preprocessing
from holdfast.report.palette import method_colour
from holdfast.report.svg import chart
from holdfast.train.labelled import Labelled
from holdfast.train.loaded import LoadedRun, device_named
from holdfast.train.origin import Origin

_AT_ONCE = 16
_TOLD = 6
"""Layers whose median the text may tell."""
_IN_WORDS: dict[Units, str] = {"channels": "channel", "positions": "position of each channel"}


def similarity(
    run: LoadedRun,
    origin: Origin,
    pictures: Labelled,
    *,
    layers: str = STAGES,
    units: Units = "channels",
    device: str = "auto",
    progress: Progress | None = None,
) -> Finding:
    """Compare each unit of a finished run's network with itself at the starting point.

    Args:
        run: the run.
        origin: its starting point.
        pictures: on which both are looked at; their labels play no role.
        layers: see ``named_layers``.
        units: see ``r2_of``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        progress: told of the pictures seen.

    Raises:
        UsageError: no such layer, kind of unit or device; fewer than two pictures.
        ModelError: the network's stages cannot be told.
        DataError: a picture can no longer be read.
    """
    if units not in get_args(Units):
        raise UsageError(f"units are {units!r}; expected {' or '.join(get_args(Units))}")
    if len(pictures.samples) < 2:
        raise UsageError(
            f"{pictures.root} gives {len(pictures.samples)} picture(s); expected two or more to fit a line"
        )
    where = device_named(device)
    shown = _shown(pictures, run.preprocessing, where, progress)
    found = r2_of(origin.model.to(where), run.model.to(where), named_layers(origin.model, layers), shown, units)
    images = len(pictures.samples)
    known = [(each.layer, each.r2) for each in found if each.r2 is not None]
    return Finding(
        analysis="similarity",
        title="Do units keep their roles in fine-tuning?",
        text=_in_words(origin.method, known, images, units),
        data={"images": images, "units": units, "layers": [each.as_data() for each in found]},
        figures=[_figure(origin.method, found, images, units)] if known else [],
        inputs={
            "run": str(run.folder.path),
            "method": origin.method,
            "model": run.name,
            "start": None if origin.weights is None else origin.weights.location,
            "pictures": str(pictures.root),
            "part": pictures.part or None,
            "images": images,
            "units": units,
            "runs": 1,
        },
        notes=_notes(origin, found, pictures),
    )


def _shown(pictures: Labelled, p: Preprocessing, device: torch.device, progress: Progress | None) -> Iterator[Tensor]:
    """Centre crops as the network takes them, in batches."""
    side, crop = side_of(eval_side(p.size, p.crop), p.fit), EvalTransform(p.size, p.crop)
    store = ImageStore.build(pictures.samples, pictures.root, side, cache="off")
    done = 0
    for batch in batches(ImageDataset(store, pictures.samples, crop), _AT_ONCE):
        yield normalise(batch[0].to(device), p.mean, p.std)
        done += len(batch[0])
        if progress is not None:
            progress(done, len(pictures.samples))


def _medians(known: Sequence[tuple[str, Box]]) -> str:
    """Of all layers, or of some from the first to the last where there are many."""
    if len(known) > _TOLD:
        known = [known[round(place * (len(known) - 1) / (_TOLD - 1))] for place in range(_TOLD)]
    return ", ".join(f"{layer} {box.median:.3f}" for layer, box in known)


def _in_words(method: str, known: Sequence[tuple[str, Box]], images: int, units: Units) -> str:
    if not known:
        return f"No unit varies over these {images} pictures both before and after training: there is no R² to tell."
    layer, last = known[-1]
    return (
        f"R² is the share of a unit's variation after training that a straight line of its activation at the starting "
        f"point explains: 1 where it kept its role. After training with {method}, its median over every "
        f"{_IN_WORDS[units]} is, from input to output: {_medians(known)}. Half of the units of {layer} lie between "
        f"{last.q1:.3f} and {last.q3:.3f}. This is one run, seen on {images} pictures."
    )


def _notes(origin: Origin, found: Sequence[LayerR2], pictures: Labelled) -> list[str]:
    chance = 1 / (len(pictures.samples) - 1)
    notes = [f"Units that have nothing in common reach an R² of about {chance:.2g} or less by chance."]
    still = [each for each in found if each.constant_before or each.constant_after]
    if still:
        places = "; ".join(f"{e.layer}: {e.constant_before} before, {e.constant_after} only after" for e in still)
        count = sum(each.constant_before + each.constant_after for each in still)
        notes.append(f"{count} units that do not vary over these pictures are left out ({places}).")
    if pictures.skipped:
        notes.append(f"{len(pictures.skipped)} files could not be read, such as {pictures.skipped[0].path}.")
    if origin.weights is None:
        notes.append("The run began with random weights, which were drawn again from its seed.")
    return notes


def _figure(method: str, found: Sequence[LayerR2], images: int, units: Units) -> Drawn:
    known = [(each.layer, each.r2) for each in found if each.r2 is not None]
    many = len(found) > 12
    width = min(13.0, max(4.6, 1.0 + (0.22 if many else 1.1) * len(found)))
    with chart(width, 3.9 if many else 3.2) as (figure, axes):
        draw_boxes(axes, [each.r2 for each in found], [each.layer for each in found], method_colour(method))
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel("layer, from input to output")
        axes.set_ylabel("R² of a unit, after on before (no unit)")
        return drawn(
            figure,
            "similarity",
            label=f"Box plots of R² per layer after {method}. Medians: {_medians(known)}.",
            caption=f"R² between activations at the starting point and after {method}, one for every "
            f"{_IN_WORDS[units]}; {MEANING}; 1 run, {images} pictures.",
        )
