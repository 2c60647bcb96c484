"""What a network forgot: accuracy on the source task after training, with the original head (L2-SP, §5.1, Table 5)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn

from holdfast.analysis.drawing import Drawn, drawn
from holdfast.analysis.finding import Finding
from holdfast.bench.statistics import Paired, paired_difference
from holdfast.core.errors import UsageError
from holdfast.data.examine import Progress
from holdfast.models import heads
from holdfast.report.measures import fixed
from holdfast.report.palette import MUTED, method_colour
from holdfast.report.quality import wilson
from holdfast.report.svg import chart, plain
from holdfast.train.evaluate import evaluate
from holdfast.train.loaded import LoadedRun
from holdfast.train.origin import Origin
from holdfast.train.source_task import SourcePart, source_head

Bar = Callable[[str], AbstractContextManager[Progress]]
"""Begins to show the progress of a pass that goes by this name."""


@dataclass(frozen=True)
class Drop:
    """The answers of two networks to the same pictures.

    Attributes:
        images: how many.
        start: that the starting point got right.
        tuned: that the fine-tuned body got right, with the same head.
        lost: right at the start alone.
        gained: right after fine-tuning alone.
        points: accuracy lost, in points, with its interval; positive where accuracy fell.
    """

    images: int
    start: int
    tuned: int
    lost: int
    gained: int
    points: Paired


def compared(start: Tensor, tuned: Tensor) -> Drop:
    r"""Compare two networks picture by picture.

    .. math:: \bar d \pm t_{N-1,0.975}\, s_d / \sqrt N

    where d is 100 for a picture that was lost, −100 for one that was gained, 0 for all others, and N their number.

    Args:
        start: whether the starting point is right, bool, shape (N,).
        tuned: whether the fine-tuned body is, likewise.

    Raises:
        UsageError: fewer than two pictures.
    """
    points = paired_difference((100.0 * start).tolist(), (100.0 * tuned).tolist())
    lost, gained = int((start & ~tuned).sum()), int((tuned & ~start).sum())
    return Drop(len(start), int(start.sum()), int(tuned.sum()), lost, gained, points)


def source_drop(
    run: LoadedRun, origin: Origin, source: SourcePart, *, device: str = "auto", bar: Bar | None = None
) -> Finding:
    """Accuracy on the source task of the starting point and of the fine-tuned body, both with the original head.

    Both see the same pictures, prepared as the run prepared its own, and choose among all classes of the head.

    Args:
        run: the run.
        origin: its starting point.
        source: pictures of the source task.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        bar: shows the progress of each network.

    Raises:
        ModelError: there is no source head.
        UsageError: no such device, or fewer than two pictures.
        DataError: a picture can no longer be read.
    """
    rows, count = source_head(origin).out_features, len(source.pictures.samples)
    if count < 2:
        raise UsageError(f"{source.pictures.root} gives {count} picture(s); expected two or more")
    bodies = {"starting point": origin.model, "fine-tuned": run.model}
    drop = compared(*(_right(name, run, body, origin, source, device, bar) for name, body in bodies.items()))
    assert origin.weights is not None
    return Finding(
        analysis="source-drop",
        title="What was forgotten of the source task?",
        text=_in_words(origin.method, source, rows, drop),
        data=asdict(drop),
        figures=[_figure(origin.method, drop)],
        inputs={
            "run": str(run.folder.path),
            "method": origin.method,
            "model": run.name,
            "start": origin.weights.location,
            "source_pictures": str(source.pictures.root),
            "part": source.pictures.part or None,
            "images": count,
            "classes": source.classes,
            "head_classes": rows,
            "matched": source.matched,
            "image_size": run.preprocessing.size,
            "runs": 1,
        },
        notes=_notes(origin, source, drop),
    )


def _right(
    name: str, run: LoadedRun, body: nn.Module, origin: Origin, source: SourcePart, device: str, bar: Bar | None
) -> Tensor:
    """Whether a body with the source head is right on each picture, bool, shape (N,)."""
    whole = copy.deepcopy(body)
    heads.replace(whole, origin.head, copy.deepcopy(source_head(origin)))
    shown = replace(run, model=whole.eval())
    if bar is None:
        found = evaluate(shown, source.pictures, device=device)
    else:
        with bar(name) as progress:
            found = evaluate(shown, source.pictures, device=device, progress=progress)
    return found.log_probabilities.argmax(1) == torch.tensor([sample.label for sample in source.pictures.samples])


def _points(drop: Drop) -> str:
    p = drop.points
    return f"{fixed(p.mean, 2)} points (95 % interval {fixed(p.low, 2)} to {fixed(p.high, 2)}, paired by picture)"


def _in_words(method: str, source: SourcePart, rows: int, drop: Drop) -> str:
    before, after = (f"{fixed(100 * right / drop.images, 1)} %" for right in (drop.start, drop.tuned))
    text = (
        f"With the original head, the starting point is right on {before} of {drop.images} pictures of "
        f"{source.classes} of the {rows} source classes, the body fine-tuned with {method} on {after}. "
        f"Accuracy lost: {_points(drop)}; {drop.lost} pictures were lost, {drop.gained} gained."
    )
    if drop.points.low <= 0 <= drop.points.high:
        return f"{text} The interval includes zero: these pictures do not settle whether anything was lost."
    return text


def _notes(origin: Origin, source: SourcePart, drop: Drop) -> list[str]:
    notes = [
        "The interval is over pictures, for this one run; other seeds of the run may lose more or less.",
        f"Class folders were matched with the head {source.matched}.",
    ]
    if not drop.lost + drop.gained:
        share = fixed(min(100.0, 300 / drop.images), 1)
        notes.append(
            f"No picture changed sides, so the interval has no width; up to about {share} % of all pictures might "
            "still have changed, with 95 % confidence (three in the number of pictures)."
        )
    if origin.source == str(source.pictures.root):
        notes.append(
            "The run was given these pictures with --source: if its method trained on them, the drop is too small."
        )
    skipped = source.pictures.skipped
    if skipped:
        notes.append(f"{len(skipped)} files could not be read, such as {skipped[0].path}.")
    return notes


def _figure(method: str, drop: Drop) -> Drawn:
    rows = (("starting point", drop.start, MUTED), (f"after {method}", drop.tuned, method_colour(method)))
    with chart(5.2, 1.7) as (figure, axes):
        for place, (name, right, colour) in enumerate(rows):
            ends = [100 * end for end in wilson(right, drop.images)]
            axes.plot(ends, [place, place], color=colour.light, linewidth=2, solid_capstyle="butt")
            axes.plot(100 * right / drop.images, place, "D", color=colour.light, markersize=6)
            axes.text(0, place - 0.32, plain(name, 60), transform=axes.get_yaxis_transform(), parse_math=False)
        axes.set_ylim(1.4, -0.75)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(False, axis="y")
        axes.set_xlabel("accuracy on the source task with its own head (%)")
        return drawn(
            figure,
            "source-drop",
            label=f"Accuracy on the source task before and after {method}. Lost: {_points(drop)}.",
            caption="Accuracy with the original head and Wilson's 95 % interval of each by itself; lost: "
            f"{_points(drop)}; {drop.images} pictures, 1 run.",
        )
