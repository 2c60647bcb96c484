"""Every setting of a training run: the one source of flags, defaults, ``--help`` and ``settings.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from holdfast.core.errors import UsageError

# These change where and how fast a run computes, not what: a run may be resumed with others.
FREE_TO_CHANGE = frozenset({"out", "workers", "cache", "cache_dir"})


class Settings(BaseModel):
    """Settings of one run; the defaults for small data were chosen on validation parts (docs/defaults.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path = Field(description="folder of images: train/val/test class folders, or class folders alone")
    out: Path = Field(Path("runs/train"), description="run folder")
    model: str = Field("timm:resnet50", description="network: timm:NAME, torchvision:NAME, or a bare name")
    weights: Path | None = Field(None, description="local weight file (safetensors, or a pickle of tensors only)")
    pretrained: bool = Field(True, description="start from the hub's weights where no file is given")
    method: str = Field("l2_sp", description="regularisation, e.g. 'ptr(R=3)+l2_sp'; 'plain' for none")
    epochs: int = Field(30, ge=1, description="passes over the training part")
    batch_size: int = Field(20, ge=1, description="images per step and device")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="optimiser")
    lr: float = Field(1e-3, gt=0, description="learning rate of the pre-trained body")
    head_lr: float | None = Field(1e-2, gt=0, description="learning rate of the new head; as --lr where not given")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of SGD")
    weight_decay: float = Field(1e-4, ge=0, description="decay of weights that no penalty owns")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="learning rate over the run")
    bn: Literal["frozen", "train"] = Field("frozen", description="batch-norm statistics: kept, or updated")
    image_size: int | None = Field(None, ge=8, description="side of the input in pixels; the network's own by default")
    augment: bool = Field(True, description="random resized crops and mirroring in training")
    class_weights: Literal["none", "balanced"] = Field("none", description="weights of the classes in the loss")
    samples_per_class: int | None = Field(None, ge=1, description="use only this many training images per class")
    val_fraction: float = Field(0.2, gt=0, lt=1, description="part held out for validation where there is none")
    test_fraction: float = Field(0.2, ge=0, lt=1, description="part held out for testing in a folder of classes")
    strict: bool = Field(False, description="an unreadable image is an error instead of being skipped")
    keep: Literal["last", "best"] = Field("last", description="weights to keep: last epoch's, or best on validation")
    early_stopping: int | None = Field(
        None, ge=1, description="stop after this many validations without progress; keeps the best"
    )
    val_every: int | None = Field(None, ge=1, description="epochs between validations; by default as costs allow")
    seed: int = Field(0, ge=0, description="of the split, the head, the order, the augmentation and the methods")
    precision: Literal["32", "bf16", "fp16"] = Field("32", description="arithmetic: full, or mixed with bf16 or fp16")
    accelerator: str = Field("auto", description="Lightning's accelerator: auto, cpu, gpu, …")
    devices: int = Field(1, ge=1, description="number of devices")
    strategy: str = Field("auto", description="Lightning's strategy for several devices: auto, ddp, …")
    threads: int | None = Field(None, ge=1, description="CPU threads; torch's own choice by default")
    workers: int = Field(0, ge=0, description="processes that load images")
    cache: Literal["ram", "disk", "off"] = Field("ram", description="where decoded images are kept")
    cache_dir: Path | None = Field(None, description="folder of the disk cache")

    @property
    def keeps_best(self) -> bool:
        """Whether the best epoch on validation is kept."""
        return self.keep == "best" or self.early_stopping is not None

    def dump(self) -> dict[str, Any]:
        """The settings as plain values."""
        return self.model_dump(mode="json")

    def differences(self, other: Settings) -> list[str]:
        """Fields whose values decide the result and are not the same, ``name: here → there``."""
        mine, theirs = self.dump(), other.dump()
        return [f"{k}: {mine[k]} → {theirs[k]}" for k in mine if k not in FREE_TO_CHANGE and mine[k] != theirs[k]]


def make_settings(values: dict[str, Any]) -> Settings:
    """Settings from plain values, with paths made absolute.

    Raises:
        UsageError: an unknown name, a wrong type or a value out of range; one line that names it.
    """
    try:
        settings = Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "settings"
        if first["type"] == "extra_forbidden":
            from holdfast.core.registry import nearest

            raise UsageError(f"unknown setting {name!r}{nearest(name, list(Settings.model_fields))}") from None
        given = "" if first["type"] == "missing" else f", got {first['input']!r}"
        raise UsageError(f"{name.replace('_', '-')}: {first['msg'][0].lower()}{first['msg'][1:]}{given}") from None
    paths = {
        k: v.expanduser().absolute() for k in ("data", "out", "weights", "cache_dir") if (v := getattr(settings, k))
    }
    return settings.model_copy(update=paths)


def read_settings(file: Path) -> dict[str, Any]:
    """Values from a settings file that a run has written, versions left out.

    Raises:
        UsageError: no such file, or no mapping in it.
    """
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"cannot read the settings file {file}: {error}") from None
    if not isinstance(values, dict):
        raise UsageError(f"{file} holds no settings: expected lines such as 'model: timm:resnet50'")
    return {k: v for k, v in values.items() if k != "versions"}
