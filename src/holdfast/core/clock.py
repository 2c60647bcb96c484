"""Where a run is: optimiser steps that were taken, epochs, the mean task loss of the last epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from holdfast.core.errors import UsageError
from holdfast.core.world import mean_over_ranks


@dataclass
class Clock:
    """Counts *taken* optimiser steps: a step that a gradient scaler skips does not count.

    ``micro`` is the index of the micro-batch since the last taken step, ``differentiated`` that of the loss whose
    backward pass began last. ``epoch_loss`` is the previous epoch's mean task loss over all ranks, or None before the
    first epoch ends.
    """

    seed: int = 0
    total_steps: int | None = None
    steps_per_epoch: int | None = None
    step: int = 0
    micro: int = 0
    differentiated: int | None = None
    epoch_loss: float | None = None
    head_resets: int = 0
    penalty_decay: float = 1.0
    _sum: Tensor | None = field(default=None, repr=False)
    _count: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.penalty_decay <= 1:
            raise UsageError(f"expected 0 < penalty_decay <= 1, found {self.penalty_decay}")
        if self.penalty_decay < 1:
            self.require("steps_per_epoch", f"penalty_decay={self.penalty_decay:g}")

    @property
    def penalty_factor(self) -> float:
        """What every penalty is multiplied by now: ``penalty_decay`` to the power of the epoch."""
        return 1.0 if self.penalty_decay == 1 else self.penalty_decay**self.epoch

    @property
    def epoch(self) -> int:
        """Index of the current epoch, from 0; 0 throughout where ``steps_per_epoch`` is unknown."""
        return self.step // self.steps_per_epoch if self.steps_per_epoch else 0

    @property
    def epoch_begins(self) -> bool:
        """Whether the step to come is the first of an epoch after the first one."""
        return bool(self.steps_per_epoch) and self.step > 0 and self.step % (self.steps_per_epoch or 1) == 0

    def see_loss(self, task_loss: Tensor) -> None:
        """Add one micro-batch's task loss to the epoch's mean, without a device sync."""
        value = task_loss.detach().float()
        self._sum = value if self._sum is None else self._sum.to(value.device) + value
        self._count += 1
        self.micro += 1

    def advance(self) -> None:
        """One optimiser step was taken."""
        self.step += 1
        self.micro, self.differentiated = 0, None
        if self.epoch_begins and self._sum is not None:
            self.epoch_loss = float(mean_over_ranks(self._sum / self._count))
            self._sum, self._count = None, 0

    def require(self, name: str, wanted_by: str) -> int:
        """``total_steps`` or ``steps_per_epoch``, else an error that says which method needs it."""
        value = getattr(self, name)
        if not value:
            raise UsageError(f"{wanted_by} needs {name}: pass prepare(..., {name}=N)")
        return int(value)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the run's own settings."""
        total = None if self._sum is None else self._sum.detach().cpu().clone()
        return {
            "step": self.step,
            "micro": self.micro,  # not 0 after a skipped step
            "epoch_loss": self.epoch_loss,
            "head_resets": self.head_resets,
            "sum": total,
            "count": self._count,
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        self.step, self.micro = saved["step"], saved["micro"]
        self.epoch_loss, self.head_resets = saved["epoch_loss"], saved["head_resets"]
        self._sum, self._count = saved["sum"], saved["count"]
