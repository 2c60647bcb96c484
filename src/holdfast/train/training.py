"""Training one plan on Lightning's Trainer, from the last checkpoint on, and all that follows."""

from __future__ import annotations

import functools
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from rich.console import Console

from holdfast.adapters.lightning import HoldfastCallback
from holdfast.core.calibration import no_trace
from holdfast.core.errors import UsageError
from holdfast.data.index import class_weights
from holdfast.data.loader import Loader
from holdfast.models.batchnorm import freeze_batchnorm
from holdfast.train.checkpoint import AtomicIO, Keeper, load
from holdfast.train.datamodule import Pictures, loaders_of
from holdfast.train.evaluate import Predictions, as_csv, predict_batches
from holdfast.train.export import save_preprocessing, save_weights
from holdfast.train.guard import FiniteLoss, Interrupted, stoppable
from holdfast.train.history import History
from holdfast.train.logged import logs
from holdfast.train.module import Classifier
from holdfast.train.plan import Plan
from holdfast.train.progress import Shown
from holdfast.train.quiet import quiet
from holdfast.train.result import Result
from holdfast.train.run_folder import RunFolder, write_json, write_text
from holdfast.train.source import Source
from holdfast.train.versions import versions

_PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


class Run:
    """One run's parts around Lightning's Trainer.

    Args:
        plan: what to do.
        folder: where everything goes.
        console: told of what happens.
    """

    def __init__(self, plan: Plan, folder: RunFolder, console: Console) -> None:
        s = plan.settings
        self.plan, self.folder, self.console = plan, folder, console
        # brackets in paths and names are no markup
        self._say = functools.partial(console.print, soft_wrap=True, highlight=False, markup=False)
        cache_dir = s.cache_dir or folder.path / "cache"
        self.source: Source | None = None
        if plan.source is not None:
            self.source = Source(plan.source, plan.built.preprocessing, s, cache_dir, self._described)
        self.prepared_with: dict[str, Any] = {
            "head": plan.built.head.head,
            "source_head": plan.built.source_head,
            "streams": {} if self.source is None else {"source": self.source.stream},
            "seed": s.seed,
            "penalty_decay": s.penalty_decay,
            "total_steps": plan.total_steps,
            "steps_per_epoch": plan.steps_per_epoch,
            "score": self._validation_accuracy if plan.validates else None,
            "teacher_dtype": torch.bfloat16 if s.teacher_precision == "bf16" else None,
        }
        self.methods = HoldfastCallback(plan.methods, **self.prepared_with)
        plateau = s.plateau if s.schedule == "plateau" else None
        self.history = History(folder, seed=s.seed, patience=s.early_stopping, plateau=plateau, cuts=s.cuts)
        self.logs = logs(plan, folder, self._test_loss)
        self.keeper = Keeper(folder, self.history, keeps_best=plan.keeps_best, every=s.checkpoint_every)
        if s.bn == "frozen":
            freeze_batchnorm(plan.built.model)
        # convolutions run faster with channels last: a quarter of the step of MobileNetV2 on a CPU
        plan.built.model.to(memory_format=torch.channels_last)
        weights = class_weights(plan.index) if s.class_weights == "balanced" else None
        self.module = Classifier(plan.built.model, plan.methods, s, plan.total_steps, weights)

    def trainer(self) -> Trainer:
        """Lightning's Trainer with our callbacks and without its words.

        Raises:
            UsageError: there is no such device or strategy, or fp16 on a device without it.
        """
        s = self.plan.settings
        shown = Shown(self.plan, self.history, self.console, s.progress)
        try:
            trainer = Trainer(
                accelerator=s.accelerator,
                devices=s.devices,
                num_nodes=s.nodes,
                strategy=s.strategy,
                precision=_PRECISIONS[s.precision],
                max_epochs=self.plan.epochs,
                accumulate_grad_batches=s.accumulate,
                check_val_every_n_epoch=self.plan.val_every or None,
                limit_val_batches=None if self.plan.val_every else 0,
                num_sanity_val_steps=0,
                callbacks=[
                    self.methods,
                    FiniteLoss(self.folder, self.history),
                    *self.logs,
                    self.history,
                    shown,
                    self.keeper,
                ],
                plugins=[AtomicIO()],
                logger=TensorBoardLogger(self.folder.path, name="logs", version="") if s.tensorboard else False,
                use_distributed_sampler=False,
                deterministic="warn" if s.accelerator in ("auto", "cuda") and torch.cuda.is_available() else None,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
        except (MisconfigurationException, ValueError, RuntimeError) as error:
            raise UsageError(f"devices: {' '.join(str(error).split())}") from error
        if s.precision == "fp16" and trainer.strategy.root_device.type == "cpu":
            raise UsageError("precision fp16 needs an accelerator; take bf16 or 32 on the CPU")
        return trainer

    def describe(self) -> Iterator[str]:
        """The device and the optimiser's groups, one line each."""
        with quiet():
            trainer = self.trainer()
        yield f"device     {_name(trainer.strategy.root_device)}, precision {self.plan.settings.precision}"
        self._prepare()
        try:
            for line in self.plan.methods.describe():
                yield f"acts on    {line}"
            optimizer, _ = self.module.optimizer_and_schedule()
            for group in optimizer.param_groups:
                count = sum(p.numel() for p in group["params"])
                values = f"{count} values in {len(group['params'])} tensors"
                rates = f"lr {group['lr']:g}, weight decay {group['weight_decay']:g}"
                yield f"group      {group['name']}: {values}, {rates}"
        finally:
            self.plan.methods.remove()

    def train(self) -> Trainer:
        """Train from the last checkpoint, or from the start; leaves the kept weights in the network."""
        trainer = self.trainer()
        self._device = device = trainer.strategy.root_device
        if trainer.is_global_zero:
            self._say(f"device     {_name(device)}, precision {self.plan.settings.precision}")
            for log in self.logs:
                self._say(f"logs       {log.describe()}")
        checkpoint = load(self.folder.last) if self.folder.last.is_file() else None
        if checkpoint is not None:
            self.history.load_state_dict(checkpoint["callbacks"][self.history.state_key])
            if trainer.is_global_zero:
                self._say(f"resuming   after epoch {len(self.history.rows)}")
            if self.history.stopped or len(self.history.rows) >= self.plan.epochs:
                self._restore(checkpoint)
                return trainer
        if self.source is not None:
            self.source.open()
        pictures = Pictures(self.plan, self.folder.path / "cache", epoch=len(self.history.rows))
        trainer.fit(self.module, datamodule=pictures, ckpt_path=None if checkpoint is None else str(self.folder.last))
        return trainer

    def _described(self, done: int, total: int) -> None:
        """Tell of a look at all source pictures, ten times."""
        if done * 10 // total != (done - 1) * 10 // total:
            self._say(f"source     {done} of {total} pictures described")

    def _restore(self, checkpoint: dict[str, Any]) -> None:
        """What training would have left, from its final checkpoint."""
        network, states = self.module.model, checkpoint["callbacks"]
        plan = self.plan
        self._prepare()
        plan.methods.load_state_dict(states[self.methods.state_key])
        kept = states[self.keeper.state_key]["kept"]
        prefix = "model."
        last = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
        network.load_state_dict(last if kept is None else kept)
        self.methods.reported = plan.methods.on_fit_end(network)

    def _prepare(self) -> None:
        self.plan.methods.prepare(self.module.model, **self.prepared_with)

    def finish(self, device: torch.device, began: float) -> dict[str, Any]:
        """Measure the kept weights, once, and write everything that the run leaves."""
        plan, folder = self.plan, self.folder
        network = self.module.model
        save_weights(network, folder.model)
        parts = self._predictions(network, device)
        figures: dict[str, Any] = {
            f"{part}.{name}": value for part, found in parts.items() for name, value in found.measures().items()
        }
        figures |= self.methods.reported
        figures |= {f"{part}.images": len(samples) for part, samples in plan.index.parts.items()}
        figures |= {
            "epochs": len(self.history.rows),
            "kept_epoch": self.history.best_epoch if plan.keeps_best else len(self.history.rows),
            "seconds": round(time.monotonic() - began + self.history.seconds_before, 3),
            "peak_memory_mb": round(_peak_memory(device), 1),
            "model": plan.built.name,
            "method": str(plan.methods),
            "device": _name(device),
            **{f"versions.{name}": version for name, version in versions().items()},
        }
        lines = save_preprocessing(plan.built, plan.index.classes, folder)
        write_text(folder.predictions, as_csv(parts, plan.index.classes))
        write_json(folder.result, figures)
        for name, value in self.methods.reported.items():
            self._say(f"at the end {name} {value:g}")
        self._say(f"written to {folder.path}; load the network with")
        for line in lines:
            self._say(f"    {line}")
        return figures

    def _validation_accuracy(self) -> float:
        """Of the network as it is."""
        return self._predictions(self.module.model, self._device, ("val",))["val"].measures()["accuracy"]

    def _test_loss(self) -> float:
        """Of the network as it is, which is left as it was."""
        network = self.module.model
        with no_trace(network, self._loaders["test"]):
            return self._predictions(network, self._device, ("test",))["test"].measures()["nll"]

    @functools.cached_property
    def _loaders(self) -> dict[str, Loader]:
        ten_crop = self.plan.built.preprocessing.ten_crop
        return loaders_of(self.plan, self.folder.path / "cache", ten_crop=ten_crop)

    def _predictions(
        self, network: torch.nn.Module, device: torch.device, parts: Sequence[str] = ("val", "test")
    ) -> dict[str, Predictions]:
        plan, loaders = self.plan, self._loaders
        network.to(device).eval()
        precision, preprocessing = plan.settings.precision, plan.built.preprocessing
        return {
            part: Predictions(
                part, plan.index.parts[part], predict_batches(network, loaders[part], preprocessing, device, precision)
            )
            for part in parts
            if part in loaders and (part != "test" or plan.settings.measure_test)
        }


def execute(plan: Plan, folder: RunFolder, console: Console) -> Result:
    """Train, measure, write; on all ranks, of which the first one writes.

    Raises:
        HoldfastError: something the caller can mend.
        KeyboardInterrupt: stopped by a signal.
    """
    began = time.monotonic()
    run = Run(plan, folder, console)
    try:
        with stoppable(), quiet():
            trainer = run.train()
            figures = run.finish(trainer.strategy.root_device, began) if trainer.is_global_zero else {}
            return Result(folder.path, trainer.strategy.broadcast(figures))
    except Interrupted as signal:
        done = f"epoch {len(run.history.rows)}" if run.history.rows else "no epoch yet"
        raise KeyboardInterrupt(
            f"{signal} after {done} of {plan.epochs}; the same command goes on from the last checkpoint"
        ) from None
    finally:
        plan.methods.remove()


def _name(device: torch.device) -> str:
    """The device in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type


def _peak_memory(device: torch.device) -> float:
    """Highest use so far, in MiB: of the device, or of the process where that is the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
