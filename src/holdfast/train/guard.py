"""Stopping on a loss that is not finite, at the step where it happened, and on a signal."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from holdfast.core.errors import HoldfastError
from holdfast.train.history import History
from holdfast.train.run_folder import RunFolder

EVERY = 50
"""Steps between looks at the loss on an accelerator, where each look waits for the device."""


class FiniteLoss(Callback):
    """Stops training on a loss that is not finite; the checkpoint of the last good epoch stays.

    Args:
        folder: of the run.
        history: counts the epochs that ended well.
    """

    def __init__(self, folder: RunFolder, history: History) -> None:
        self._folder, self._history = folder, history
        self._first_bad: Tensor | None = None

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Note the first bad step without waiting for the device."""
        loss = (outputs["loss"] if isinstance(outputs, dict) else outputs).detach()
        step = torch.where(torch.isfinite(loss), math.inf, float(trainer.global_step))
        self._first_bad = step if self._first_bad is None else torch.minimum(self._first_bad, step)
        if trainer.world_size == 1 and (loss.device.type == "cpu" or batch_idx % EVERY == EVERY - 1):
            self._check(self._first_bad)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Look before anything is kept of this epoch; several devices agree here."""
        if self._first_bad is not None:
            self._check(trainer.strategy.reduce(self._first_bad, reduce_op="min"))
        self._first_bad = None

    def _check(self, first_bad: Any) -> None:
        step = float(first_bad)
        if not math.isfinite(step):
            return
        done = len(self._history.rows)
        kept = "the last checkpoint stays" if self._folder.last.is_file() else "there is no checkpoint yet"
        raise HoldfastError(
            f"the loss is not finite at step {step:.0f} (epoch {done + 1}); {kept}. Lower the learning rates or the "
            "method's strength, or take precision bf16 in place of fp16"
        )


class Interrupted(BaseException):
    """The user or the system asked to stop; not an Exception, so that no library swallows it."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into ``Interrupted`` within the block; in the main thread only.

    Lightning would otherwise leave the process with code 1 and two lines of its own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second one while the first is being handled
        raise Interrupted(signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
