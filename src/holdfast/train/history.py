"""The figures of each epoch, the best of them, and metrics.csv."""

from __future__ import annotations

import csv
import io
import time
from typing import Any

from lightning.pytorch import Callback, Trainer

from holdfast.train.module import Classifier
from holdfast.train.run_folder import RunFolder, write_text
from holdfast.train.schedule import Row, plateaus
from holdfast.train.seeding import reseed


class History(Callback):
    """One row per epoch; seeds each epoch, and stops early where asked to.

    Args:
        folder: of the run.
        seed: of the run.
        patience: epochs without better validation accuracy before training stops; None never stops.
        plateau: validations without progress before the rates are cut; None never cuts.
        cuts: the plateau after so many cuts stops training.
    """

    def __init__(
        self, folder: RunFolder, *, seed: int, patience: int | None, plateau: int | None = None, cuts: int = 2
    ) -> None:
        self.rows: list[Row] = []
        self.best_epoch = 0
        self._folder, self._seed, self._patience = folder, seed, patience
        self._plateau, self._cuts = plateau, cuts
        self.seconds_before = 0.0
        self._began = time.monotonic()
        self._rates: dict[str, float] = {}

    @property
    def stopped(self) -> bool:
        """Whether patience has run out, or the last plateau is reached."""
        tired = self._patience is not None and len(self.rows) - self.best_epoch >= self._patience
        return tired or self._plateaus > self._cuts

    @property
    def _plateaus(self) -> int:
        return 0 if self._plateau is None else plateaus(self.rows, self._plateau)

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Tell a resumed run's schedule of the cuts before."""
        pl_module.cuts = min(self._plateaus, self._cuts)

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Before an epoch's first step: seed the global generators, so that a resumed run draws the same."""
        if batch_idx == 0:
            reseed(self._seed, len(self.rows), trainer.global_rank)
            self._began = time.monotonic()
            self._rates = _rates(trainer.optimizers[0].param_groups)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Close the epoch: its row, the best so far, whether to go on."""
        assert isinstance(pl_module, Classifier)
        row: Row = {"epoch": float(len(self.rows) + 1)}
        train, val = pl_module.train_tally.close(pl_module.device), pl_module.val_tally.close(pl_module.device)
        row |= {f"train.{name}": train[name] for name in ("loss", "accuracy")}
        row |= {f"val.{name}": value for name, value in val.items()}
        row |= self._rates
        row["seconds"] = time.monotonic() - self._began
        row |= {name: float(value) for name, value in pl_module.methods.log.items()}
        self.rows.append(row)
        if "val.accuracy" in row and (
            not self.best_epoch or self._order(row) > self._order(self.rows[self.best_epoch - 1])
        ):
            self.best_epoch = len(self.rows)
        if self._plateau is not None:
            pl_module.cut(min(self._plateaus, self._cuts))
        trainer.should_stop = trainer.should_stop or self.stopped
        if trainer.logger is not None:
            trainer.logger.log_metrics({k: v for k, v in row.items() if k != "epoch"}, step=trainer.global_step)

    @staticmethod
    def _order(row: Row) -> tuple[float, float]:
        """Higher accuracy is better; among equals, the lower negative log-likelihood."""
        return row["val.accuracy"], -row["val.nll"]

    def write(self, trainer: Trainer) -> None:
        """Write metrics.csv."""
        if trainer.is_global_zero:
            write_text(self._folder.metrics, as_csv(self.rows))

    def state_dict(self) -> dict[str, Any]:
        """The rows and the best epoch."""
        return {"rows": self.rows, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put them back."""
        self.rows, self.best_epoch = list(state_dict["rows"]), int(state_dict["best_epoch"])
        self.seconds_before = sum(row["seconds"] for row in self.rows)


def _rates(groups: list[dict[str, Any]]) -> dict[str, float]:
    """The rates of body and head at the epoch's beginning, before any factor of a method."""
    names = {"body": "lr", "head": "head_lr"}
    found = {names.get(str(g["name"]).partition("_")[0], ""): float(g["lr"]) for g in groups}
    return {name: found[name] for name in ("lr", "head_lr") if name in found}


_COUNTS = ("epoch", "step", "resets")


def as_csv(rows: list[Row]) -> str:
    """Rows as CSV; a column that an epoch lacks is empty there."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(name, row.get(name)) for name in columns])
    return text.getvalue()


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return str(int(value)) if name in _COUNTS else f"{value:.8g}"
