"""A finished run's network, ready to be used."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from holdfast.core.errors import DataError, ModelError, UsageError
from holdfast.models import zoo
from holdfast.models.names import resolve
from holdfast.models.preprocessing import Preprocessing
from holdfast.models.weights import read_weights
from holdfast.train.run_folder import RunFolder


@dataclass(frozen=True)
class LoadedRun:
    """A trained network with all that its use needs.

    Attributes:
        folder: the run's.
        model: the plain network of its library, in evaluation mode, on the CPU.
        name: ``library:name`` of the network.
        options: keyword arguments it was built with.
        preprocessing: what a picture goes through before it.
        classes: class names in the order of the logits.
    """

    folder: RunFolder
    model: nn.Module
    name: str
    options: dict[str, Any]
    preprocessing: Preprocessing
    classes: tuple[str, ...]


def load_run(run: str | Path) -> LoadedRun:
    """Read the network that a finished run has left.

    Raises:
        DataError: no such folder, no finished run in it, or one of its files cannot be read.
        ModelError: the weights do not fit the network that the run names.
    """
    folder = RunFolder(Path(run))
    if not folder.path.is_dir():
        raise DataError(f"no such run folder: {folder.path}; expected what 'holdfast train --out' has written")
    if folder.state != "finished":
        found = "an unfinished run; repeat its command to finish it" if folder.state == "interrupted" else "no run"
        raise DataError(f"{folder.path} holds {found} (expected a result.json there)")
    try:
        written = json.loads(folder.preprocessing.read_text(encoding="utf-8"))
        return _load(folder, written)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, UsageError):
            raise
        raise DataError(
            f"{folder.preprocessing} is missing or damaged ({type(error).__name__}: {error}); train again with --out"
        ) from error


def _load(folder: RunFolder, written: dict[str, Any]) -> LoadedRun:
    # JSON knows no tuples, and networks ask for some.
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in written["options"].items()}
    preprocessing = Preprocessing(
        tuple(written["mean"]),
        tuple(written["std"]),
        int(written["size"]),
        float(written["crop"]),
        str(written["interpolation"]),
        written.get("fit", "shorter"),
        bool(written.get("ten_crop", False)),
    )
    if not folder.model.is_file():
        raise DataError(f"{folder.model} is missing; the run's other files cannot stand in for it: train again")
    state = read_weights(folder.model)
    model = zoo.architecture(resolve(written["model"]), options)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{folder.model} does not fit {written['model']} with {options}: {reason}") from error
    classes = tuple(map(str, written["classes"]))
    return LoadedRun(folder, model.eval(), str(written["model"]), options, preprocessing, classes)


def device_named(name: str) -> torch.device:
    """The device that a user means; ``auto`` takes a GPU where there is one.

    Raises:
        UsageError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros((), device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"device {name!r} cannot be used here ({reason}); expected auto, cpu, cuda or mps") from None
    return device
