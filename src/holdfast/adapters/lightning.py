"""The methods inside anybody's LightningModule: a callback."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from holdfast.core.compose import Composition, compose
from holdfast.core.errors import UsageError


class HoldfastCallback(Callback):
    """Prepares the network before ``configure_optimizers``, regularises ``training_step``, follows the steps.

    The methods' state, the starting point included, goes into Lightning's checkpoints. Validation is left alone. Put it
    before callbacks that look at the weights after a step, such as averages: a method may change them there.

    Args:
        methods: what to train with; a text is available as ``callback.methods``.
        network: path of the network in the LightningModule, ``""`` for all of it; made before ``setup``.
        head: module path of the new head within the network; found where None.
        total_steps: optimiser steps of the whole training; the trainer's where None.
        steps_per_epoch: optimiser steps per epoch; the trainer's where None.
        seed: of all random numbers that the methods draw.
        options: what else ``Composition.prepare`` takes (``source_head``, ``streams``, ``score``, ``teacher_dtype``).
    """

    def __init__(
        self,
        methods: Composition | str,
        network: str = "model",
        head: str | None = None,
        *,
        total_steps: int | None = None,
        steps_per_epoch: int | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        self.methods = compose(methods) if isinstance(methods, str) else methods
        self._path, self._options = network, {"head": head, "seed": seed, **options}
        self._total, self._per_epoch = total_steps, steps_per_epoch
        self._network: nn.Module | None = None
        self._inner: Any = None
        self.reported: dict[str, float] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Prepare the network and wrap ``training_step``."""
        if stage != "fit":
            return
        if not pl_module.automatic_optimization:
            raise UsageError("HoldfastCallback needs automatic optimisation; in your own loop call methods.loss(...)")
        network = pl_module.get_submodule(self._path)
        if network is not self._network:
            total = _finite(trainer.estimated_stepping_batches)  # makes the loader too, which the next line needs
            epoch = self._per_epoch or _finite(trainer.num_training_batches / trainer.accumulate_grad_batches)
            total = self._total or total
            self.methods.prepare(network, total_steps=total, steps_per_epoch=epoch, **self._options)
            self._network, self._inner = network, None
        if self._inner is None:
            self._inner = pl_module.training_step
            # its signature is read to choose the arguments
            pl_module.training_step = functools.wraps(self._inner)(lambda *args: self._step(*args))

    def _step(self, batch: Any, *args: Any) -> Any:
        if isinstance(batch, list | tuple) and len(batch) > 1:  # inputs, targets, perhaps indices
            batch = [*self.methods.on_batch(*batch[:3]), *batch[2:]]
        out = self._inner(batch, *args)
        if isinstance(out, Mapping):
            return {**out, "loss": self.methods.loss(out["loss"])}
        return self.methods.loss(out) if isinstance(out, Tensor) else out

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the methods measure what they need, unless a checkpoint brought it."""

        def as_batch(item: Any) -> Any:  # as training_step gets it
            item = pl_module._on_before_batch_transfer(trainer.precision_plugin.convert_input(item))
            return trainer.strategy.batch_to_device(item)

        self.methods.calibrate(trainer.train_dataloader, as_batch)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Tell the methods, who act only where the optimiser stepped, and log their figures when the trainer logs."""
        self.methods.step(trainer.optimizers[0])
        if trainer.global_step % trainer.log_every_n_steps == 0:
            pl_module.log_dict(self.methods.log)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the methods finish, keep what they report, and give ``training_step`` back."""
        self.reported = self.methods.on_fit_end(self._network)
        pl_module.training_step, self._inner = self._inner, None

    def state_dict(self) -> dict[str, Any]:
        """The methods' state; empty before ``setup``."""
        return {} if self._network is None else self.methods.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the methods, the starting point included."""
        self.methods.load_state_dict(state_dict)


def _finite(steps: float) -> int | None:
    return math.ceil(steps) if 0 < steps < math.inf else None
