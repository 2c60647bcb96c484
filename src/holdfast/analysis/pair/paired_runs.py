"""Two runs asked about the same pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from holdfast.analysis.finished import finished_together, method_of
from holdfast.analysis.pair.certainty import Places, Reals
from holdfast.core.errors import DataError, UsageError
from holdfast.data.examine import Progress
from holdfast.data.folder import load_split
from holdfast.data.index import PARTS, FolderIndex, Sample
from holdfast.data.manifest import check_pictures
from holdfast.report.palette import Colour, method_colour
from holdfast.report.records import RunRecord
from holdfast.train.evaluate import evaluate, written_probabilities
from holdfast.train.labelled import Labelled
from holdfast.train.loaded import load_run
from holdfast.train.run_folder import RunFolder


@dataclass(frozen=True)
class Asked:
    """A run and what its network says of the shared pictures.

    Attributes:
        letter: A or B.
        record: the run.
        index: its split; where its pictures are.
        samples: the shared pictures as it knows them, in the order of the pair.
        probabilities: shape (N, K), float64, rows that sum to one, columns in the order of the pair's classes.
        computed: by its network now; else read from its predictions.csv.
    """

    letter: str
    record: RunRecord
    index: FolderIndex
    samples: Sequence[Sample]
    probabilities: Reals
    computed: bool

    @property
    def name(self) -> str:
        """Letter and method, as figures call it."""
        return f"{self.letter}: {method_of(self.record)}"

    @property
    def colour(self) -> Colour:
        """Of its method."""
        return method_colour(method_of(self.record))


@dataclass(frozen=True)
class Pair:
    """Two runs and the pictures of a part that they share.

    Attributes:
        part: ``train``, ``val`` or ``test``.
        classes: names, in A's order.
        labels: true class of each picture, shape (N,).
        a: the first run.
        b: the second.
    """

    part: str
    classes: Sequence[str]
    labels: Places
    a: Asked
    b: Asked


def paired(run_a: Path, run_b: Path, part: str, *, device: str = "auto", progress: Progress | None = None) -> Pair:
    """Two finished runs and their predictions of the pictures that both have in a part, found by content and class.

    Probabilities are read from predictions.csv where it holds all of them, else the run's network computes them with
    the run's own preprocessing.

    Args:
        run_a: folder of a run.
        run_b: folder of another.
        part: ``train``, ``val`` or ``test``.
        device: for the networks: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        progress: told how many predictions are made, of those of both runs.

    Raises:
        UsageError: one run twice, no such part, or no such device here.
        DataError: a run is not finished or damaged, classes differ, no picture is shared, or one has changed.
        ModelError: the weights of a run do not fit its network.
    """
    if part not in PARTS:
        raise UsageError(f"unknown part {part!r}; expected one of {', '.join(PARTS)}")
    records = finished_together([run_a, run_b])
    indexes = [_split(record, part) for record in records]
    pairs = shared(indexes[0], indexes[1], part)
    if not pairs:
        raise DataError(
            f"{run_a} and {run_b} share no {part} picture; expected runs on the same data with the same split "
            "(same --seed, or same --split-seed)"
        )
    asked = []
    for place, (record, index) in enumerate(zip(records, indexes, strict=True)):
        own = [pair[place] for pair in pairs]
        told = _shifted(progress, place * len(pairs), 2 * len(pairs))
        probabilities, computed = _probabilities(record, replace(index, parts={part: tuple(own)}), device, told)
        columns = [index.classes.index(name) for name in indexes[0].classes]
        asked.append(Asked("AB"[place], record, index, own, probabilities[:, columns], computed))
    labels = np.array([sample.label for sample, _ in pairs])
    return Pair(part, indexes[0].classes, labels, asked[0], asked[1])


def _split(record: RunRecord, part: str) -> FolderIndex:
    folder = RunFolder(record.folder)
    index = load_split(folder.split)
    if part not in index.parts:
        raise UsageError(f"{folder.path} has no {part} part; it has {', '.join(index.parts)}: choose with --part")
    if tuple(record.classes) != index.classes:
        raise DataError(f"{folder.preprocessing} and {folder.split} differ in their classes; train again with --out")
    return index


def shared(a: FolderIndex, b: FolderIndex, part: str) -> list[tuple[Sample, Sample]]:
    """The pictures that both have in a part, as A and as B know them, in A's order.

    A picture is the same where the file's content and the class's name are. One that lies several times in both is
    taken as often as in the one that has it less often.
    """
    waiting = defaultdict(list)
    for sample in reversed(b.parts[part]):
        waiting[sample.digest, b.classes[sample.label]].append(sample)
    return [
        (sample, found.pop()) for sample in a.parts[part] if (found := waiting[sample.digest, a.classes[sample.label]])
    ]


def _probabilities(record: RunRecord, index: FolderIndex, device: str, told: Progress) -> tuple[Reals, bool]:
    """Of the pictures left in the index, shape (N, K), in its classes' order; whether the network was asked."""
    folder = RunFolder(record.folder)
    ((part, samples),) = index.parts.items()
    written = written_probabilities(folder.predictions, part, index.classes)
    computed = any(sample.path not in written for sample in samples)
    if computed:
        run, pictures = load_run(folder.path), Labelled(index.root, samples, part)
        check_pictures(index, folder.split)
        log_p = evaluate(run, pictures, device=device, progress=told).log_probabilities
        found = log_p.double().exp().numpy()
    else:
        found = np.array([written[sample.path] for sample in samples], dtype=np.float64)
    if not np.isfinite(found).all():
        raise DataError(
            f"{folder.path} gives probabilities that are not finite, for its training diverged; leave it out"
        )
    told(len(samples), len(samples))
    # Single precision and six decimals leave sums that are one only nearly.
    return found / found.sum(1, keepdims=True), computed


def _shifted(progress: Progress | None, before: int, total: int) -> Progress:
    def told(done: int, _: int) -> None:
        if progress is not None:
            progress(before + done, total)

    return told
