"""The LightningModule: cross-entropy on batches of pictures, and sums for the epoch's figures."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from holdfast.core.compose import Composition
from holdfast.core.world import mean_over_ranks
from holdfast.train.schedule import factor
from holdfast.train.settings import Settings


class Tally:
    """Sums of an epoch, kept on the device so that no step waits for it."""

    def __init__(self) -> None:
        self._sums: Tensor | None = None
        self.latest: Tensor | None = None
        """Of the last batch, (4,): loss, negative log-likelihood and right answers over its pictures; their number."""

    def add(self, loss: Tensor, nll: Tensor, logits: Tensor, targets: Tensor) -> None:
        """Count one batch.

        Args:
            loss: mean training loss of the batch.
            nll: mean negative log-likelihood, without class weights.
            logits: shape (B, K).
            targets: labels (B,), or probabilities (B, K).
        """
        labels = targets if targets.ndim == 1 else targets.argmax(1)
        n = loss.new_tensor(len(logits), dtype=torch.float32)
        right = (logits.argmax(1) == labels).sum().float()
        new = torch.stack([loss.detach().float() * n, nll.detach().float() * n, right, n])
        self.latest, self._sums = new, new if self._sums is None else self._sums + new

    def close(self, device: torch.device) -> dict[str, float]:
        """Means over all ranks since the last call: ``loss``, ``nll``, ``accuracy``; empty where there was nothing."""
        mine = torch.zeros(4, device=device) if self._sums is None else self._sums
        self._sums = None
        loss, nll, right, n = mean_over_ranks(mine).tolist()
        return {"loss": loss / n, "nll": nll / n, "accuracy": right / n} if n else {}


class Classifier(LightningModule):
    """A network under training.

    Args:
        network: gives logits (B, K) for pictures (B, 3, S, S).
        methods: asked for the parameter groups; bound to the network before the optimiser is made.
        settings: of the run.
        total_steps: optimiser steps of the whole run, for the schedule.
        class_weights: of the cross-entropy, shape (K,).
    """

    def __init__(
        self,
        network: nn.Module,
        methods: Composition,
        settings: Settings,
        total_steps: int,
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.model = network
        self.methods = methods
        self.settings = settings
        self.total_steps = total_steps
        self.cuts = 0
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.train_tally, self.val_tally = Tally(), Tally()

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        logits: Tensor = self.model(x)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> Tensor:
        """The task loss of one batch; the methods' part is added around this."""
        return self._measured(batch, self.train_tally)

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> None:
        """Count one validation batch."""
        self._measured(batch, self.val_tally)

    def _measured(self, batch: tuple[Tensor, Tensor, Tensor], tally: Tally) -> Tensor:
        x, y, _ = batch
        logits = self.model(x)
        loss = F.cross_entropy(logits, y, weight=self.class_weights)
        with torch.no_grad():
            nll = loss if self.class_weights is None else F.cross_entropy(logits, y)
            tally.add(loss, nll, logits, y)
        return loss

    def configure_optimizers(self) -> Any:
        """The optimiser, and its schedule by step where there is one."""
        optimizer, schedule = self.optimizer_and_schedule()
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def optimizer_and_schedule(self) -> tuple[Optimizer, LambdaLR | None]:
        """The optimiser over the methods' groups, and the course of all rates."""
        s = self.settings
        groups = self.methods.param_groups(self.model, lr=s.lr, head_lr=s.head_lr, weight_decay=s.weight_decay)
        optimizer = SGD(groups, lr=s.lr, momentum=s.momentum) if s.optimizer == "sgd" else AdamW(groups, lr=s.lr)
        return optimizer, None if s.schedule == "constant" else LambdaLR(optimizer, self._factor)

    def cut(self, cuts: int) -> None:
        """Let so many cuts be made in all, from the next step on."""
        self.cuts = cuts
        schedule = self.lr_schedulers()
        assert isinstance(schedule, LambdaLR)
        for group, rate in zip(schedule.optimizer.param_groups, schedule.base_lrs, strict=True):
            group["lr"] = rate * self._factor(schedule.last_epoch)

    def _factor(self, step: int) -> float:
        s = self.settings
        return factor(
            s.schedule, step, self.total_steps, decay_at=s.decay_at or (), decay=s.decay_factor, cuts=self.cuts
        )
