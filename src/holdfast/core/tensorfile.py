"""Safetensors files with torch alone: eight bytes of length, a header in JSON, then the numbers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from holdfast.core.errors import DataError, UsageError

_TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_LONGEST = 100_000_000  # bytes of a header, as in the format's own reader


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file by name, and the notes in its header.

    Args:
        path: the file; its tensors are floating-point numbers.

    Raises:
        UsageError: there is no such file.
        DataError: it is damaged or something else.
    """
    with _opened(path) as file:
        header, notes = _header(file, path)
        numbers = bytearray(path.stat().st_size - file.tell())
        file.readinto(numbers)
        return {str(name): _tensor(numbers, entry) for name, entry in header.items()}, notes


def read_notes(path: Path) -> dict[str, str]:
    """The notes in the header of a safetensors file, whatever its tensors are.

    Raises:
        UsageError: there is no such file.
        DataError: it is damaged or something else.
    """
    with _opened(path) as file:
        return _header(file, path)[1]


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    if not path.is_file():
        raise UsageError(f"no file at {path}; expected safetensors")
    try:
        with path.open("rb") as file:
            yield file
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is no complete safetensors file ({error}); make it anew") from error


def _header(file: BufferedReader, path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Where each tensor lies, and the notes."""
    size, length = path.stat().st_size, int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(_LONGEST, size - 8):
        raise ValueError(f"a header of {length} bytes in a file of {size}")
    header = json.loads(file.read(length))
    return header, {str(key): str(value) for key, value in header.pop("__metadata__", {}).items()}


def write_tensors(path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all.

    Args:
        path: where; its folder is made where it is missing.
        tensors: floating-point numbers by name.
        notes: for the header.

    Raises:
        UsageError: the file cannot be written there.
    """
    names = {dtype: name for name, dtype in _TYPES.items()}
    header: dict[str, Any] = {"__metadata__": dict(notes)}
    parts, end = [], 0
    for name, value in tensors.items():
        part = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        header[name] = {"dtype": names[value.dtype], "shape": list(value.shape), "data_offsets": [end, end + len(part)]}
        parts.append(part)
        end += len(part)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the numbers begin at a multiple of eight
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(b"".join([len(text).to_bytes(8, "little"), text, *parts]))
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def _tensor(numbers: bytearray, entry: dict[str, Any]) -> Tensor:
    dtype, shape = _TYPES[entry["dtype"]], [int(n) for n in entry["shape"]]
    begin, end = (int(n) for n in entry["data_offsets"])
    count = torch.Size(shape).numel()
    if min(shape, default=0) < 0 or not 0 <= begin <= end <= len(numbers) or end - begin != count * dtype.itemsize:
        raise ValueError(f"bytes {begin} to {end} of {len(numbers)} for shape {tuple(shape)}")
    if not count:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(numbers, dtype=dtype, count=count, offset=begin).reshape(shape)
