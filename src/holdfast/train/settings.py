"""The settings of a run: the only list of them, for Python, the command line, settings.yaml and ``--help``."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from holdfast.core.errors import UsageError
from holdfast.core.registry import nearest
from holdfast.data.named.catalogue import is_named

RECORDED = "recorded"
"""Key of settings.yaml under which facts stand that are not settings: versions, the resolved network."""


def _option(default: Any, doc: str, group: str, *, compared: bool = True, **bounds: Any) -> Any:
    """A setting; ``compared`` says whether two runs that differ in it are different runs."""
    return Field(default, description=doc, json_schema_extra={"group": group, "compared": compared}, **bounds)


class Settings(BaseModel):
    """What a run is asked to do. Unknown names and values out of range are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)

    data: str = _option(
        ...,
        "folder of images (train/val/test with class folders, or class folders alone), or a name of 'holdfast "
        "datasets'; @15% or @5-per-class after it takes a portion",
        "Data",
    )
    data_root: Path = _option(Path("data"), "folder of the data sets that have names", "Data", compared=False)
    source: str | None = _option(
        None,
        "pictures of the pre-trained network's classes, a folder or a name, for methods that train on them too",
        "Data",
    )
    image_size: int | None = _option(None, "side of the input in pixels; none takes the network's own", "Data", ge=8)
    samples_per_class: int | None = _option(None, "training pictures to use of each class; none: all", "Data", ge=1)
    val_fraction: float = _option(0.2, "share held out for validation where there is no val folder", "Data", ge=0, lt=1)
    test_fraction: float = _option(0.2, "share held out for testing where the data come unsplit", "Data", ge=0, lt=1)
    split_seed: int | None = _option(None, "of the split alone; none: the seed", "Data", ge=0, lt=2**31)
    val_within: bool = _option(
        False, "hold validation out of the training pictures in use; a val folder is left alone", "Data"
    )
    measure_test: bool = _option(True, "use the test part at the end; no, while settings are being chosen", "Data")
    augment: bool = _option(True, "random crops and mirroring of training pictures", "Data")
    transform: Literal["crops", "zhong2020", "li2018", "li2018-star", "wan2019", "li2020"] = _option(
        "crops", "how pictures are cut, trained on and tested: our own way, or a paper's", "Data"
    )
    strict: bool = _option(False, "an unusable picture is an error instead of being skipped", "Data")
    cache: Literal["ram", "disk", "off"] = _option("ram", "where decoded pictures are kept", "Data", compared=False)
    cache_dir: Path | None = _option(None, "folder of the disk cache; none: in the run folder", "Data", compared=False)

    model: str = _option("resnet50", "network: timm:NAME, torchvision:NAME or a bare name", "Network")
    weights: Path | None = _option(None, "local weight file, safetensors or a pickle of tensors", "Network")
    pretrained: bool = _option(True, "fetch published weights where no file is given", "Network")
    drop_rate: float | None = _option(None, "dropout before the head; none: the network's own", "Network", ge=0, lt=1)
    bn: Literal["frozen", "train"] = _option("frozen", "batch-norm statistics: kept, or of each batch", "Network")

    method: str = _option("plain", "regularisation, e.g. 'l2_sp(alpha=0.1)+ptr(R=3)'", "Training")
    epochs: int = _option(30, "passes over the training pictures", "Training", ge=1)
    iterations: int | None = _option(
        None,
        "optimiser steps to train for, rounded up to whole epochs; none: as many epochs as asked",
        "Training",
        ge=1,
    )
    batch_size: int = _option(20, "pictures per batch and device", "Training", ge=1)
    accumulate: int = _option(1, "batches whose gradients make up one step", "Training", ge=1)
    penalty_decay: float = _option(1.0, "every penalty is multiplied by this after each epoch", "Training", gt=0, le=1)
    optimizer: Literal["sgd", "adamw"] = _option("sgd", "optimiser", "Training")
    lr: float = _option(3e-4, "learning rate of the pre-trained layers", "Training", gt=0)
    head_lr: float | None = _option(1e-2, "learning rate of the new head; none takes lr", "Training", gt=0)
    momentum: float = _option(0.9, "momentum of SGD", "Training", ge=0, lt=1)
    weight_decay: float = _option(1e-4, "decay of weights that no penalty owns", "Training", ge=0)
    schedule: Literal["cosine", "constant", "step", "plateau"] = _option(
        "cosine", "course of the learning rates; plateau cuts them when validation stops progressing", "Training"
    )
    decay_at: tuple[int, ...] | None = _option(
        None, "optimiser steps after which schedule 'step' cuts the rates, e.g. 6000 or 6000,8000", "Training"
    )
    decay_factor: float = _option(0.1, "what a cut multiplies the rates by", "Training", gt=0, le=1)
    plateau: int = _option(5, "validations without progress before schedule 'plateau' cuts", "Training", ge=1)
    cuts: int = _option(2, "cuts of schedule 'plateau'; the plateau after the last ends training", "Training", ge=0)
    class_weights: Literal["none", "balanced"] = _option("none", "weights of the classes in the loss", "Training")
    keep: Literal["best", "last"] = _option("best", "weights to keep: best on validation, or of the end", "Training")
    early_stopping: int | None = _option(None, "stop after so many epochs without improvement", "Training", ge=1)
    val_every: int | None = _option(
        None,
        "epochs between validations; 0: at the end alone; none: as long as they see no more than training",
        "Training",
        ge=0,
    )
    seed: int = _option(0, "of split, subset, head, order, augmentation and method", "Training", ge=0, lt=2**31)

    precision: Literal["32", "bf16", "fp16"] = _option("32", "arithmetic: float32, or mixed with 16 bits", "Machine")
    teacher_precision: Literal["same", "bf16"] = _option(
        "same", "arithmetic of the frozen starting point that some methods compare with", "Machine"
    )
    devices: int = _option(1, "number of devices, or of processes on the CPU, of each machine", "Machine", ge=1)
    nodes: int = _option(1, "machines that share the run; the same command is started on each", "Machine", ge=1)
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = _option("auto", "kind of device", "Machine", compared=False)
    strategy: str = _option("auto", "Lightning's, for several devices, e.g. ddp", "Machine", compared=False)
    threads: int | None = _option(None, "CPU threads per process; none: torch's", "Machine", compared=False, ge=1)
    workers: int = _option(0, "processes that load pictures; 0: none of their own", "Machine", compared=False, ge=0)

    checkpoint_every: int | None = _option(
        None, "epochs between checkpoints; none: at most one in 30 seconds; 0: never", "Output", compared=False, ge=0
    )
    log_angles: int = _option(
        0,
        "steps between the rows of steps.csv: loss, angles between the gradients of task and penalties; 0: never",
        "Output",
        compared=False,
        ge=0,
    )
    log_gradients: bool = _option(
        False, "write the gradient's norm at each stage, epoch by epoch, to gradients.csv", "Output", compared=False
    )
    log_test_loss: bool = _option(
        False,
        "write the test part's loss after each epoch to test_loss.csv: for looking, never for choosing",
        "Output",
        compared=False,
    )
    tensorboard: bool = _option(True, "write TensorBoard event files too", "Output", compared=False)
    progress: Literal["auto", "bar", "lines", "off"] = _option("auto", "what is shown", "Output", compared=False)
    out: Path | None = _option(
        None, "run folder; none: runs/ and a name made of the settings", "Output", compared=False
    )

    NOT_WRITTEN: ClassVar[frozenset[str]] = frozenset({"out", "progress"})
    """Settings that say nothing about the run itself and are not written down in its folder."""

    # The last before-validator runs first: these two see None where the word none was given.
    @field_validator("data", "source", mode="before")
    @classmethod
    def _folder_or_name(cls, value: Any) -> Any:
        if isinstance(value, str) and is_named(value):
            return value
        return str(Path(value).expanduser().absolute()) if isinstance(value, str | Path) else value

    @field_validator("decay_at", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        found = value.split(",") if isinstance(value, str) else [value] if isinstance(value, int) else value
        return found or None

    @field_validator("*", mode="before")
    @classmethod
    def _none_in_words(cls, value: Any, info: Any) -> Any:
        if info.field_name == "class_weights":  # where none is a word of its own
            return "none" if value is None else value
        return None if isinstance(value, str) and value.lower() == "none" else value

    @field_validator("decay_at")
    @classmethod
    def _in_order(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and (value[0] < 1 or sorted(set(value)) != list(value)):
            raise ValueError("expected steps of at least 1 in rising order")
        return value

    @field_validator("weights", "data_root", "cache_dir", "out")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Settings from values by name.

        Raises:
            UsageError: an unknown name, a value of another type or out of range; the first one, in one line.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UsageError(_in_words(error, list(cls.model_fields))) from None

    @classmethod
    def read(cls, file: Path, **changes: Any) -> Self:
        """Settings from a settings.yaml, with changes.

        Raises:
            UsageError: the file is missing or no settings file, or a value is refused.
        """
        return cls.of(**{**read_yaml(file)[0], **changes})

    def to_yaml(self, recorded: dict[str, Any]) -> str:
        """The text of settings.yaml: every setting, then the facts under ``recorded``."""
        values = self.model_dump(mode="json", exclude=set(self.NOT_WRITTEN))
        return yaml.safe_dump({**values, RECORDED: recorded}, sort_keys=False, allow_unicode=True)

    def identity(self) -> dict[str, Any]:
        """The settings that make two runs different ones."""
        values = self.model_dump(mode="json")
        return {name: values[name] for name, field in type(self).model_fields.items() if extra(field)["compared"]}

    @property
    def world(self) -> int:
        """Devices of all machines."""
        return self.devices * self.nodes

    def folder(self) -> Path:
        """The run folder: ``out``, or a name in ``runs`` that the same settings give again."""
        if self.out is not None:
            return self.out
        key = hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()[:8]
        words = [Path(self.data).name, self.model.rpartition(":")[2], self.method, f"s{self.seed}"]
        name = "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", word).strip("_")[:32] for word in words)
        return Path("runs").absolute() / f"{name}-{key}"


def extra(field: Any) -> dict[str, Any]:
    """What ``_option`` noted beside a field: ``group`` and ``compared``."""
    noted = field.json_schema_extra
    assert isinstance(noted, dict)
    return noted


def read_yaml(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings and recorded facts of a settings.yaml, unchecked.

    Raises:
        UsageError: the file is missing, unreadable or holds no names with values.
    """
    try:
        content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the settings {file}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UsageError(f"{file} holds no settings by name; expected lines such as 'epochs: 30'")
    recorded = content.pop(RECORDED, {})
    return content, recorded if isinstance(recorded, dict) else {}


def _in_words(error: ValidationError, names: list[str]) -> str:
    """The first thing wrong, in one line."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else "settings"
    if first["type"] == "extra_forbidden":
        return f"unknown setting {name!r}{nearest(name, names)}"
    if first["type"] == "missing":
        return f"the setting {name!r} is missing"
    wanted = first["msg"].removeprefix("Input ").rstrip(".")
    return f"{name}: {wanted}, got {first['input']!r}"
