"""What a run writes down of its course where it is asked to; training is the same bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor
from torch.optim import Optimizer

from holdfast.core.watch import ANGLES
from holdfast.core.world import mean_over_ranks
from holdfast.train.history import as_csv
from holdfast.train.plan import Plan
from holdfast.train.run_folder import RunFolder, write_text
from holdfast.train.schedule import Row
from holdfast.train.stage_layers import StageLayer, stage_layers


class Logged(Callback):
    """Rows that become a CSV file. They are part of each checkpoint, so that a resumed run has each of them once.

    Args:
        file: where they go.
    """

    def __init__(self, file: Path) -> None:
        self.rows: list[Row] = []
        self._file = file

    def describe(self) -> str:
        """What is written down, in one line."""
        return self._file.name

    def on_save_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Write the rows that the checkpoint holds."""
        self._write(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Write all rows."""
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            write_text(self._file, as_csv(self.rows))

    def state_dict(self) -> dict[str, Any]:
        """The rows."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put them back."""
        self.rows = list(state_dict["rows"])


class StepLog(Logged):
    """Every so many steps, the task loss of the step's batch and the angles between the gradients.

    Columns: ``step``, the optimiser steps taken before this one, so that 0 is at the starting point; ``epochs``, the
    same in passes over the training pictures; ``loss``, J as the mean over the step's pictures on all ranks, before the
    step; the figures of ``core.watch.ANGLES`` that there are, under accumulation those of the step's last batch.

    Args:
        file: where the rows go.
        every: steps from one row to the next.
        steps_per_epoch: optimiser steps in an epoch.
    """

    def __init__(self, file: Path, every: int, steps_per_epoch: int) -> None:
        super().__init__(file)
        self._every, self._steps_per_epoch = every, steps_per_epoch
        self._begins, self._own = True, torch.zeros(4)
        self._seen: list[tuple[int, Tensor, dict[str, Tensor]]] = []

    def describe(self) -> str:
        """The file, and how often."""
        return f"{self._file.name}: loss and angles of every {self._every}. step"

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Let the gradients be measured, where this step is one to log."""
        methods = pl_module.methods
        methods.watch.on = methods.clock.step % self._every == 0
        self._begins = methods.clock.micro == 0

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Note the figures of a step that was taken, without waiting for the device."""
        methods, latest = pl_module.methods, pl_module.train_tally.latest
        if not methods.watch.on:
            return
        self._own = latest if self._begins else self._own + latest
        if methods.clock.micro == 0:
            self._seen.append((methods.clock.step - 1, self._own, dict(methods.watch.figures)))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Make rows of what was noted."""
        if not self._seen:
            return
        steps, sums, figures = zip(*self._seen, strict=True)
        self._seen = []
        loss, _, _, count = mean_over_ranks(torch.stack(sums)).T
        for step, mean, found in zip(steps, (loss / count).tolist(), read(figures), strict=True):
            self.rows.append({"step": float(step), "epochs": step / self._steps_per_epoch, "loss": mean, **found})


def read(figures: tuple[dict[str, Tensor], ...]) -> list[dict[str, float]]:
    """The figures of each step as numbers, with one wait for the device; those that are not finite are left out."""
    flat = [value.float() for found in figures for value in found.values()]
    numbers = iter(torch.stack(flat).tolist() if flat else ())
    named = [{name: next(numbers) for name in found} for found in figures]
    return [{name: row[name] for name in ANGLES if math.isfinite(row.get(name, math.nan))} for row in named]


class StageGradients(Logged):
    r"""At the first step of each epoch, the Frobenius norm of the gradient at one layer of each stage.

    .. math:: \|\partial (J + \Omega) / \partial W\|_F

    of the gradient that the optimiser receives: averaged over ranks and accumulated batches, unscaled, edits and
    gradient rules included, the optimiser's own weight decay not. Columns: ``epoch`` from 1; ``step``, the optimiser
    steps taken before; ``resets``, how often the head was re-initialised before; one for each layer, named with its
    path and the kind of layer, such as ``layer4.2.conv2 3x3``. A layer that sleeps has no entry. Where a gradient
    scaler skips the first step, the next one counts.

    Source: Li et al. 2020, §4.6.1 and Figure 2; see ``stage_layers`` for other networks than theirs.

    Args:
        file: where the rows go.
        layers: one of each stage.
    """

    def __init__(self, file: Path, layers: list[StageLayer]) -> None:
        super().__init__(file)
        self._layers = layers
        self._due = False

    def describe(self) -> str:
        """The file and its layers."""
        layers = ", ".join(layer.column for layer in self._layers)
        return f"{self._file.name}: norm of the gradient at the start of each epoch, at {layers}"

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Wait for the epoch's first step."""
        self._due = self._due or batch_idx == 0

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Optimizer) -> None:
        """Measure, once an epoch."""
        if not self._due:
            return
        weights = {layer.column: pl_module.model.get_parameter(layer.parameter) for layer in self._layers}
        norms = {column: float(w.grad.float().norm()) for column, w in weights.items() if w.grad is not None}
        if all(map(math.isfinite, norms.values())):
            clock, self._due = pl_module.methods.clock, False
            at = {"epoch": trainer.current_epoch + 1.0, "step": float(clock.step), "resets": float(clock.head_resets)}
            self.rows.append(at | norms)


class TestLoss(Logged):
    """After each epoch, the loss on the test part: for looking, never for choosing; nothing in training reads it.

    Columns: ``epoch`` from 1; ``step``, the optimiser steps taken; ``loss``, the mean negative log-likelihood of the
    test pictures under the network as it then is, which need not be the one that is kept.

    Args:
        file: where the rows go.
        measure: gives that loss without a trace on the network or any generator.
    """

    __test__ = False  # no class of tests

    def __init__(self, file: Path, measure: Callable[[], float]) -> None:
        super().__init__(file)
        self._measure = measure

    def describe(self) -> str:
        """The file, and what it is for."""
        return f"{self._file.name}: the test part's loss after each epoch, for looking, never for choosing"

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Measure, on the first rank."""
        if trainer.is_global_zero:
            step = float(pl_module.methods.clock.step)
            self.rows.append({"epoch": trainer.current_epoch + 1.0, "step": step, "loss": self._measure()})


def logs(plan: Plan, folder: RunFolder, test_loss: Callable[[], float]) -> list[Logged]:
    """What the settings ask for.

    Args:
        plan: of the run.
        folder: of the run.
        test_loss: of the network as it is when called.

    Raises:
        ModelError: the network's stages cannot be told.
    """
    s, found = plan.settings, list[Logged]()
    if s.log_angles:
        found.append(StepLog(folder.steps, s.log_angles, plan.steps_per_epoch))
    if s.log_gradients:
        found.append(StageGradients(folder.gradients, stage_layers(plan.built.model, plan.built.head.head)))
    if s.log_test_loss:
        found.append(TestLoss(folder.test_loss, test_loss))
    return found
