"""What is shown during training: a bar on a terminal, else one line per epoch."""

from __future__ import annotations

import statistics
import time
from typing import Any

from lightning.pytorch import Callback, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from holdfast.train.duration import in_words
from holdfast.train.history import History
from holdfast.train.plan import Plan
from holdfast.train.schedule import Row

TIMED = 5
"""Steps after which the time of the whole run is estimated."""


class Shown(Callback):
    """Shows progress on a console.

    Args:
        plan: of the run.
        history: whose last row is shown.
        console: where to.
        kind: ``bar``, ``lines``, ``off``, or ``auto``: a bar on a terminal, else lines.
    """

    def __init__(self, plan: Plan, history: History, console: Console, kind: str) -> None:
        self._plan, self._history, self._console = plan, history, console
        self._kind = ("bar" if console.is_terminal else "lines") if kind == "auto" else kind
        self._bar: Progress | None = None
        self._times: list[float] | None = []
        self._began = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Say what the methods act on; begin the bar."""
        if self._kind != "off" and trainer.is_global_zero:
            for line in self._plan.methods.describe():
                self._console.print(f"acts on    {line}", soft_wrap=True, highlight=False, markup=False)
        if self._kind == "bar" and trainer.is_global_zero:
            text = TextColumn("{task.description}")
            columns = (text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=self._console, refresh_per_second=4)
            total = self._plan.batches_per_epoch * self._plan.epochs
            self._bar.add_task("epoch 1", total=total, completed=len(self._history.rows) * self._plan.batches_per_epoch)
            self._bar.start()

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Note the time."""
        self._began = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Move the bar; estimate the run's time once, from its first steps."""
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0])
        if self._times is None or not trainer.is_global_zero:
            return
        self._times.append(time.perf_counter() - self._began)
        if len(self._times) >= min(TIMED, self._plan.batches_per_epoch):
            if self._kind != "off":
                self._console.print(f"estimated time: {in_words(self._estimate(statistics.median(self._times)))}")
            self._times = None

    def _estimate(self, step: float) -> float:
        """Seconds that are left: training steps, and validation at a third of a step's price per picture."""
        plan, s = self._plan, self._plan.settings
        left = plan.epochs - len(self._history.rows)
        batches = len(plan.index.parts.get("val", ())) / s.batch_size / s.world
        validations = left / plan.val_every if plan.val_every else 1
        return step * (left * plan.batches_per_epoch + validations * batches / 3)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Show the epoch's figures."""
        if not self._history.rows or not trainer.is_global_zero:
            return
        line = in_a_line(self._history.rows[-1], self._plan.epochs)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], description=line)
        elif self._kind == "lines":
            self._console.print(line, soft_wrap=True, highlight=False)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """End the bar, so that the error has a line of its own."""
        self.on_train_end(trainer, pl_module)


def in_a_line(row: Row, epochs: int) -> str:
    """One epoch's figures in words."""
    parts = [f"epoch {row['epoch']:.0f}/{epochs}", f"train loss {row['train.loss']:.4f}"]
    parts.append(f"accuracy {100 * row['train.accuracy']:.1f} %")
    if "val.accuracy" in row:
        parts.append(f"val loss {row['val.nll']:.4f}, accuracy {100 * row['val.accuracy']:.1f} %")
    return ", ".join(parts)
