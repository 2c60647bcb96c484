"""Checkpoints: whole or absent, tensors and plain values only, with the weights to keep inside."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, BinaryIO

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import CheckpointIO
from torch import Tensor

from holdfast.core.errors import HoldfastError
from holdfast.train.history import History
from holdfast.train.run_folder import RunFolder, whole

SECONDS_BETWEEN = 30.0
"""Least time between checkpoints where no number of epochs is asked for."""


class AtomicIO(CheckpointIO):
    """Writes a checkpoint beside its place and moves it there; reads tensors and plain values, never code."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write, or leave what was there.

        Raises:
            HoldfastError: the disk is full, or the folder cannot be written to.
        """
        with whole(Path(path)) as handle:
            save(checkpoint, handle)

    def load_checkpoint(self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True) -> Any:
        """Read what ``save_checkpoint`` wrote."""
        return load(Path(path), map_location)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint, where there is one."""
        Path(path).unlink(missing_ok=True)


def save(content: Any, handle: BinaryIO) -> None:
    """``torch.save``, whose own error would hide that the disk is full."""
    failed: list[OSError] = []

    class Watched:
        def write(self, data: Any) -> int:
            try:
                return handle.write(data)
            except OSError as error:
                failed.append(error)
                raise

        def flush(self) -> None:
            handle.flush()

    try:
        torch.save(content, Watched())  # type: ignore[arg-type]
    except RuntimeError as error:
        raise (failed[0] if failed else error) from error


def load(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """A checkpoint's content.

    Raises:
        HoldfastError: the file is damaged.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        raise HoldfastError(
            f"cannot read the checkpoint {path} ({error}); remove its run folder to begin anew"
        ) from error
    return content


class Keeper(Checkpoint):
    """Keeps the weights of the best epoch, and writes ``last.ckpt`` now and then.

    The best weights are part of the checkpoint, so that one file holds all and no two can disagree.

    Args:
        folder: of the run.
        history: asked whether this epoch is the best.
        keeps_best: whether the best epoch's weights are kept, else the last one's.
        every: epochs between checkpoints; None goes by time; 0 writes none.
    """

    def __init__(self, folder: RunFolder, history: History, *, keeps_best: bool, every: int | None) -> None:
        self._folder, self._history, self._keeps_best, self._every = folder, history, keeps_best, every
        self._kept: dict[str, Tensor] | None = None
        self._written = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep this epoch's weights if they are the best so far; write a checkpoint if it is time."""
        epochs = len(self._history.rows)
        if self._keeps_best and self._history.best_epoch == epochs:
            self._kept = {name: value.detach().cpu().clone() for name, value in pl_module.model.state_dict().items()}
        if self._due(trainer, epochs):
            trainer.save_checkpoint(self._folder.last)
            self._history.write(trainer)
            self._written = time.monotonic()

    def _due(self, trainer: Trainer, epochs: int) -> bool:
        if self._every == 0:
            return False
        if epochs == trainer.max_epochs or trainer.should_stop:
            return True
        if self._every is not None:
            return epochs % self._every == 0
        return bool(trainer.strategy.broadcast(time.monotonic() - self._written >= SECONDS_BETWEEN))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the kept weights into the network, before the methods finish with it."""
        self._history.write(trainer)
        if self._kept is not None:
            pl_module.model.load_state_dict(self._kept)

    def state_dict(self) -> dict[str, Any]:
        """The kept weights."""
        return {"kept": self._kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put the kept weights back."""
        self._kept = state_dict["kept"]
