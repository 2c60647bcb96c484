"""Reading a weight file: safetensors or a pickle of tensors, never code."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from holdfast.core.errors import ModelError, UsageError

_NESTED = ("state_dict", "model", "model_state_dict", "state_dict_ema", "model_ema")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class WeightsSource:
    """Where the starting point came from.

    Attributes:
        kind: ``file``, ``hub``, or ``packaged`` for the package's own.
        location: the file's path, or the hub's tag.
        sha256: of the file's bytes; of names and values of all tensors (``tensors_sha256``) for the hub.
        classes: number of classes of the source head; 0 where the weights bring none.
    """

    kind: Literal["file", "hub", "packaged"]
    location: str
    sha256: str
    classes: int


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a safetensors file or a pickle, nested under a usual name or not.

    Raises:
        UsageError: there is no such file.
        ModelError: it is not a weight file, it wants to run code, or it holds NaN or infinite values.
    """
    if not path.is_file():
        raise UsageError(f"no weight file at {path}; expected safetensors or a PyTorch state dict.")
    state = _safetensors(path) if path.suffix == ".safetensors" else _pickle(path)
    tensors = _innermost(state, path)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"{path}: '{name}' holds NaN or infinite values; the file is damaged or its run diverged.")
    return tensors


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def tensors_sha256(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over the sorted names, types, shapes and bytes of a state dict, in hexadecimal."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is not a complete safetensors file ({error}); fetch it again.") from error


def _pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols, where the error that follows says more
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error)) or re.search(r"`([\w.]+)`", str(error))
        if wanted is None:
            raise ModelError(f"{path} is not a weight file ({_first_line(error)}); expected a state dict.") from error
        raise ModelError(
            f"{path} wants to run code: its pickle asks for '{wanted[1]}', and only tensors are read. If you trust it, "
            "save it anew where it was made, with safetensors or torch.save(model.state_dict(), FILE)."
        ) from error
    except Exception as error:  # whatever the reader makes of bytes that are no pickle
        reason = _first_line(error)
        raise ModelError(f"{path} is not a weight file ({reason}); expected safetensors or a state dict.") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _innermost(state: Any, path: Path) -> dict[str, Tensor]:
    for _ in range(3):
        if not isinstance(state, Mapping):
            break
        nested = next((key for key in _NESTED if isinstance(state.get(key), Mapping)), None)
        if nested is None:
            break
        state = state[nested]
    found = {name: value for name, value in state.items() if isinstance(value, Tensor)} if _is_named(state) else {}
    if not found:
        raise ModelError(f"{path} holds {type(state).__name__} without tensors by name; expected a state dict.")
    return found


def _is_named(state: Any) -> bool:
    return isinstance(state, Mapping) and all(isinstance(key, str) for key in state)
