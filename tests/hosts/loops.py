"""One run of the tiny classifier by hand, under Lightning's Trainer and under the Hugging Face Trainer."""

import contextlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader
from transformers import TrainingArguments

from holdfast.adapters.hf import HoldfastTrainer
from holdfast.adapters.lightning import HoldfastCallback
from hosts import tiny


@dataclass
class Recipe:
    """What the three hosts are to do alike; ``resume`` is what the same host left in an earlier run's folder."""

    methods: object = None
    batch: int = tiny.BATCH
    accumulate: int = 1
    clip: float = 0.0
    bf16: bool = False
    loss_in_bf16: bool = True
    dtype: torch.dtype = torch.float32
    compiled: bool = False
    average: bool = False
    ranks: int = 1
    rank: int = 0
    folder: Path | None = None
    resume: Path | None = None
    more: dict = field(default_factory=dict)  # what prepare takes besides

    @property
    def steps_per_epoch(self):
        return -(-tiny.IMAGES // (self.batch * self.accumulate * self.ranks))

    @property
    def steps(self):
        return self.steps_per_epoch * tiny.EPOCHS


def optimiser(groups):
    return torch.optim.AdamW(groups, betas=(0.9, 0.99))


def decay(step):
    """The host's own schedule."""
    return 0.9**step


def ema(model):
    """An exponential average of the weights."""
    return AveragedModel(model, avg_fn=lambda old, new, count: 0.9 * old + 0.1 * new)


def wrapped(r, model):
    """What the hand-written loop calls instead of the prepared model."""
    model = torch.compile(model, backend="aot_eager") if r.compiled else model
    return DistributedDataParallel(model) if r.ranks > 1 else model


def batches(r):
    """The batches of an epoch, this rank's only."""
    parts = zip(*(part.split(r.batch) for part in tiny.data(r.dtype)), strict=True)
    return list(parts)[r.rank :: r.ranks]


def by_hand(r):
    """A hand-written loop; with a folder it leaves a checkpoint after the first epoch."""
    methods, model = r.methods, tiny.network(r.dtype)
    methods.prepare(model, total_steps=r.steps, steps_per_epoch=r.steps_per_epoch, seed=tiny.SEED, **r.more)
    called, average = wrapped(r, model), ema(model) if r.average else None
    optimizer = optimiser(methods.param_groups(model, lr=tiny.LR, head_lr=tiny.HEAD_LR))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, decay)
    parts, first = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "methods": methods}, 0
    if r.resume is not None:
        saved = torch.load(r.resume, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        first = 1
    methods.calibrate(batches(r))
    autocast = torch.autocast("cpu", torch.bfloat16) if r.bf16 else contextlib.nullcontext()
    for epoch in range(first, tiny.EPOCHS):
        for i, (x, y) in enumerate(batches(r)):
            x, y = methods.on_batch(x, y)
            with autocast:
                logits = called(x)["logits"]
                loss = methods.loss(F.cross_entropy(logits, y)) if r.loss_in_bf16 else None
            if loss is None:
                loss = methods.loss(F.cross_entropy(logits.float(), y))
            (loss / r.accumulate).backward()
            if (i + 1) % r.accumulate == 0:
                if r.clip:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), r.clip)
                optimizer.step()
                methods.step(optimizer)
                scheduler.step()
                optimizer.zero_grad()
                if average is not None:
                    average.update_parameters(model)
        if r.folder is not None and epoch == 0:
            torch.save({name: part.state_dict() for name, part in parts.items()}, r.folder / "hand.pt")
    methods.on_fit_end(model)
    return tiny.weights(model if average is None else average.module)


class Classifier(pl.LightningModule):
    """Somebody's LightningModule."""

    def __init__(self, model, recipe):
        super().__init__()
        self.model, self.methods, self.recipe = model, recipe.methods, recipe

    def train_dataloader(self):
        return DataLoader(batches(replace(self.recipe, rank=self.trainer.global_rank)), batch_size=None)

    def training_step(self, batch):
        x, y = batch
        return F.cross_entropy(self.model(x)["logits"], y)

    def configure_optimizers(self):
        optimizer = optimiser(self.methods.param_groups(self.model, lr=tiny.LR, head_lr=tiny.HEAD_LR))
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, decay)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class CompiledClassifier(Classifier):
    """The same, compiled where Lightning has a hook for it."""

    def configure_model(self):
        self.model.compile(backend="aot_eager")


def lightning_trainer(r):
    """A quiet Trainer on the processor."""
    averaging = (
        [pl.callbacks.WeightAveraging(avg_fn=lambda old, new, count: 0.9 * old + 0.1 * new)] if r.average else []
    )
    keeper = pl.callbacks.ModelCheckpoint(r.folder, filename="{epoch}", every_n_epochs=1, save_top_k=-1)
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=tiny.EPOCHS,
        accumulate_grad_batches=r.accumulate,
        gradient_clip_val=r.clip or None,
        precision="bf16-mixed" if r.bf16 else "32-true",
        logger=False,
        enable_checkpointing=r.folder is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[HoldfastCallback(r.methods, seed=tiny.SEED, **r.more), *averaging, *([keeper] if r.folder else [])],
        devices=r.ranks,
        use_distributed_sampler=False,
        strategy="auto" if r.ranks == 1 else "ddp_fork",
    )


def under_lightning(r):
    """Lightning's Trainer with the callback."""
    module = (CompiledClassifier if r.compiled else Classifier)(tiny.network(r.dtype), r)
    lightning_trainer(r).fit(module, ckpt_path=r.resume, weights_only=True)
    return tiny.weights(module.model)


def hf_arguments(r):
    """Quiet TrainingArguments on the processor."""
    return TrainingArguments(
        output_dir=str(r.folder or "unused"),
        use_cpu=True,
        per_device_train_batch_size=r.batch,
        gradient_accumulation_steps=r.accumulate,
        num_train_epochs=tiny.EPOCHS,
        learning_rate=tiny.LR,
        max_grad_norm=r.clip,
        bf16=r.bf16,
        seed=tiny.SEED,
        save_strategy="epoch" if r.folder else "no",
        report_to=[],
        disable_tqdm=True,
        logging_strategy="no",
        torch_compile=r.compiled,
        torch_compile_backend="aot_eager" if r.compiled else None,
        ddp_backend="gloo" if r.ranks > 1 else None,
    )


class InOrder(HoldfastTrainer):
    """The Hugging Face Trainer without shuffling, with the hosts' common schedule."""

    def _get_train_sampler(self, *args):
        return torch.utils.data.SequentialSampler(self.train_dataset)

    def create_scheduler(self, num_training_steps, optimizer=None):
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, decay)
        self._created_lr_scheduler = True
        return self.lr_scheduler


def under_hugging_face(r):
    """The Hugging Face Trainer's subclass."""
    model = tiny.network(r.dtype)
    trainer = InOrder(
        model=model,
        args=hf_arguments(r),
        train_dataset=[{"pixel_values": x, "labels": y} for x, y in zip(*tiny.data(r.dtype), strict=True)],
        methods=r.methods,
        head_lr=tiny.HEAD_LR,
        optimizer_cls_and_kwargs=(torch.optim.AdamW, {"betas": (0.9, 0.99)}),
        **r.more,
    )
    trainer.train(resume_from_checkpoint=None if r.resume is None else str(r.resume))
    return tiny.weights(model)


HOSTS = {"hand": by_hand, "lightning": under_lightning, "hugging_face": under_hugging_face}
CHECKPOINTS = {"hand": "hand.pt", "lightning": "epoch=0.ckpt", "hugging_face": f"checkpoint-{tiny.STEPS_PER_EPOCH}"}
