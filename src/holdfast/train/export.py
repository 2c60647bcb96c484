"""The trained network for others: weights, preprocessing, the lines that load it, ONNX."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as safetensors_bytes
from torch import nn

from holdfast.core.errors import DataError, HoldfastError
from holdfast.models.build import Built
from holdfast.models.embedded import EMBEDDED
from holdfast.train.run_folder import RunFolder, whole, write_json


def save_weights(model: nn.Module, file: Path) -> None:
    """Parameters and buffers as safetensors, under the names of the plain network."""
    state = {name: value.detach().cpu().clone().contiguous() for name, value in model.state_dict().items()}
    with whole(file) as handle:
        handle.write(safetensors_bytes(state, metadata={"format": "pt"}))


def loading_lines(name: str, options: dict[str, Any], file: str) -> list[str]:
    """Three lines of Python that load the weights in the network's own library."""
    library, _, bare = name.partition(":")
    given = ", ".join(f"{key}={value!r}" for key, value in options.items())
    if library == "timm":
        first, made = "import timm", f"timm.create_model({bare!r}, {given})"
    elif library == "torchvision":
        first, made = "import torchvision", f"torchvision.models.get_model({bare!r}, {given})"
    else:
        entry = EMBEDDED[bare]
        first, made = f"from {entry.module} import {entry.attribute}", f"{entry.attribute}({given})"
    loaded = f"model.load_state_dict(load_file({file!r}))"
    return [f"{first}; from safetensors.torch import load_file", f"model = {made}", loaded]


def save_preprocessing(built: Built, classes: Sequence[str], folder: RunFolder) -> list[str]:
    """Write what a picture goes through before the network, and the classes in order; returns the loading lines."""
    p = built.preprocessing
    lines = loading_lines(built.name, built.options, folder.model.name)
    content = {
        "model": built.name,
        "options": built.options,
        "size": p.size,
        "resize_shorter_side": round(p.size / p.crop),
        "crop": p.crop,
        "interpolation": "bilinear",
        "antialias": True,
        "mean": list(p.mean),
        "std": list(p.std),
        "classes": list(classes),
        "load": lines,
    }
    write_json(folder.preprocessing, content)
    return lines


def save_onnx(model: nn.Module, size: int, metadata: dict[str, Any], file: Path) -> None:
    """Write the network as ONNX: normalised float pictures ``input`` (B, 3, S, S), any B, to ``logits`` (B, K).

    Args:
        model: on the CPU, in evaluation mode.
        size: side S of the input, in pixels.
        metadata: stored in the file under ``holdfast``, as JSON.
        file: where to.

    Raises:
        HoldfastError: the extra is not installed, the network cannot be exported, or the file cannot be written.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise HoldfastError(f"{error.name} is not installed; pip install 'holdfast[onnx]'") from error
    example = torch.zeros(2, 3, size, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            model, (example,), dynamo=True, input_names=["input"], output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False,
        )  # fmt: skip
    if program is None:
        raise DataError(f"{type(model).__name__} cannot be exported to ONNX")
    proto = program.model_proto
    entry = proto.metadata_props.add()
    entry.key, entry.value = "holdfast", json.dumps(metadata, ensure_ascii=False)
    text = io.BytesIO()
    onnx.save(proto, text)
    with whole(file) as handle:
        handle.write(text.getvalue())
