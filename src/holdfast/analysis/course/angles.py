"""Does a regulariser work against the task? Losses and the four angles of DTNH over iterations (Wan et al. 2019)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.analysis.course.angle_figures import angle_figures, loss_figure
from holdfast.analysis.course.logged_runs import LoggedRun, differences_beside_the_method, logged_runs, one_run_each
from holdfast.analysis.finding import Finding
from holdfast.core.errors import DataError
from holdfast.core.watch import ANGLES
from holdfast.report.measures import counted, fixed
from holdfast.report.records import numbers
from holdfast.train.run_folder import RunFolder

Series = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Trajectory:
    """The losses and angles of one run; every series has ``step``, the optimiser steps taken before its value.

    Attributes:
        run: whose.
        logged: ``step`` and ``loss``, J on the batch of each logged step.
        angles: by name of ``ANGLES``, ``step`` and ``value``, where the run has it.
        validation: ``step`` and ``loss``, at the ends of epochs.
        test: likewise, on the test part; empty unless the run was asked for it.
    """

    run: LoggedRun
    logged: Series
    angles: Mapping[str, Series]
    validation: Series
    test: Series

    @property
    def conflicts(self) -> tuple[int, int]:
        """Logged steps with ⟨∇J, ∇Ω⟩ < 0, and all that have both gradients."""
        seen = self.angles.get("conflict", {"value": ()})["value"]
        return int(sum(seen)), len(seen)


def angles(runs: Sequence[Path]) -> Finding:
    """Losses and angles over the iterations of runs that were trained with ``log_angles``.

    Args:
        runs: folders of finished runs on the same data, such as ``l2_sp`` and ``dtnh(l2_sp)``.

    Raises:
        UsageError: no run, or one twice.
        DataError: a run is not finished or has no such log, or the runs have other classes.
    """
    bare = logged_runs(runs, "steps", "step", "--log-angles 10")
    read = [trajectory(run) for run in bare]
    return Finding(
        analysis="angles",
        title="Losses, and the angles between the gradients of task and penalty",
        text=" ".join([*(sentences(each) for each in read), *compared(read)]),
        data={"runs": [as_data(each) for each in read]},
        figures=[loss_figure(read), *angle_figures(read)],
        inputs={"runs": [run.inputs for run in bare]},
        notes=[*differences_beside_the_method(bare), one_run_each(bare), *_notes(read)],
    )


def trajectory(run: LoggedRun) -> Trajectory:
    """The series of a run.

    Raises:
        DataError: the log holds no step after the first, so that epochs cannot be placed among the steps.
    """
    late = [row for row in run.rows if row.get("epochs", 0) > 0]
    if not late:
        raise DataError(
            f"expected several logged steps, found one in {run.record.folder}: train longer, or with fewer --log-angles"
        )
    per_epoch = round(late[-1]["step"] / late[-1]["epochs"])
    both = [row for row in run.rows if math.isfinite(row.get("angle", math.nan))]  # neither gradient is 0
    tested = numbers(RunFolder(run.record.folder).test_loss, "epoch", [])
    return Trajectory(
        run,
        _series(run.rows, "loss", "loss"),
        {name: found for name in ANGLES if (found := _series(both, name, "value"))["step"]},
        _series([{**row, "step": row["epoch"] * per_epoch} for row in run.record.metrics], "val.loss", "loss"),
        _series(tested, "loss", "loss"),
    )


def _series(rows: Sequence[Mapping[str, float]], column: str, name: str) -> Series:
    kept = [row for row in rows if math.isfinite(row.get(column, math.nan))]
    return {"step": [row["step"] for row in kept], name: [row[column] for row in kept]}


def medians(each: Trajectory, in_conflict: bool) -> dict[str, float]:
    """Median of each angle in degrees, over the steps in conflict or over all that have both gradients.

    ``gap`` is that of angle 3 minus angle 1: by how much a rule's direction lies closer to ∇J than the plain sum.
    """
    at = {name: dict(zip(*series.values(), strict=True)) for name, series in each.angles.items()}
    against = [step for step, value in at.pop("conflict").items() if value or not in_conflict]
    found = {name: [values[step] for step in against if step in values] for name, values in at.items()}
    if "angle1" in at:
        one, three = at["angle1"], at["angle3"]
        found["gap"] = [three[step] - one[step] for step in against if step in one and step in three]
    return {name: float(np.median(values)) for name, values in found.items() if values}


def as_data(each: Trajectory) -> dict[str, Any]:
    """As JSON has it."""
    against, of = each.conflicts
    summary: dict[str, Any] = {
        "logged_steps": len(each.logged["step"]),
        "with_both_gradients": of,
        "in_conflict": against,
    }
    if of:
        summary |= {"median_degrees": medians(each, False), "median_degrees_in_conflict": medians(each, True)}
    return {
        **each.run.inputs,
        **summary,
        "task_loss_of_batches": each.logged,
        "validation_loss": each.validation,
        "test_loss": each.test,
        "angles": each.angles,
    }


def sentences(each: Trajectory) -> str:
    """What the run shows."""
    loss = each.logged["loss"]
    tenth = max(1, len(loss) // 10)
    first, last = np.mean(loss[:tenth]), np.mean(loss[-tenth:])
    said = (
        f"{each.run.name}: the task loss J of the logged batches went from {fixed(float(first), 3)} to "
        f"{fixed(float(last), 3)} nats (means of the first and the last {counted(tenth, 'step')} of {len(loss)})"
    )
    if each.validation["loss"]:
        low, end = min(each.validation["loss"]), each.validation["loss"][-1]
        said += f"; the validation loss ended at {fixed(end, 3)}, its lowest value being {fixed(low, 3)}"
    against, of = each.conflicts
    if not of:
        return f"{said}. Nothing is penalised beside the task, so there are no angles."
    share = f"{against} of {counted(of, 'logged step')} ({fixed(100 * against / of, 1)} %)"
    said += f". The penalty's gradient pointed against the task's in {share}."
    return f"{said} {_angles_told(each)}"


def _angles_told(each: Trajectory) -> str:
    against = bool(each.conflicts[0])
    found = {name: f"{fixed(value, 2)}°" for name, value in medians(each, against).items()}
    where = "Where it did, the median angle" if against else "The median angle"
    rule, plain = (
        f"{found.get(f'angle{k}', '–')} to ∇J (angle {k}) and {found.get(f'angle{k + 1}', '–')} to ∇Ω (angle {k + 1})"
        for k in (1, 3)
    )
    if "gap" not in found:
        return f"{where} of the plain sum was {plain}."
    return (
        f"{where} of the direction taken was {rule}, that of the plain sum {plain}; the direction taken lay "
        f"{found['gap']} closer to ∇J (median of angle 3 minus angle 1)."
    )


def compared(read: Sequence[Trajectory]) -> list[str]:
    """How often the first of two runs had the higher loss, where both have one at the same step."""
    if len(read) != 2:
        return []
    a, b = read
    said = []
    for what, one, other in (
        ("logged steps for J", a.logged, b.logged),
        ("epochs for the validation loss", a.validation, b.validation),
        ("epochs for the test loss", a.test, b.test),
    ):
        there = dict(zip(*other.values(), strict=True))
        pairs = [(value, there[step]) for step, value in zip(*one.values(), strict=True) if step in there]
        if pairs:
            said.append(f"in {sum(x > y for x, y in pairs)} of {len(pairs)} {what}")
    return [f"The loss of {a.run.name} was above that of {b.run.name} {', '.join(said)}."] if said else []


def _notes(read: Sequence[Trajectory]) -> list[str]:
    notes = []
    if any("angle1" in each.angles for each in read):
        notes.append(
            "With one projection for all parameters, angle 1 can never exceed angle 3 at the same weights, nor angle 4 "
            "exceed angle 2: by how much they differ is what was measured."
        )
    if tested := [each.run.name for each in read if each.test["loss"]]:
        notes.append(
            f"The test loss of {', '.join(tested)} is for looking: nothing was chosen by it, and nothing should be."
        )
    return notes
