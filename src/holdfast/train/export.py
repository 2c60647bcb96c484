"""The trained network for others: weights, preprocessing, the lines that load it, ONNX."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as safetensors_bytes
from torch import nn

from holdfast.core.errors import ModelError, UsageError
from holdfast.models.build import Built
from holdfast.models.embedded import EMBEDDED
from holdfast.train.run_folder import RunFolder, whole, write_json

_EXTRA = 'pip install "holdfast[onnx]"'
# Float32 sums in another order differ by about 1e-6 of the largest logit; a wrong operator by far more.
_ONNX_TOLERANCE = 1e-3


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
        "fit": p.fit,
        "ten_crop": p.ten_crop,
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


def save_onnx(
    model: nn.Module, size: int, metadata: dict[str, Any], file: Path, *, opset: int | None = None
) -> float | None:
    """Write the network as ONNX: normalised float pictures ``input`` (B, 3, S, S), any B, to ``logits`` (B, K).

    Args:
        model: on the CPU, in evaluation mode.
        size: side S of the input, in pixels.
        metadata: stored in the file under ``holdfast``, as JSON.
        file: where to.
        opset: version of ONNX's operators; the exporter's own choice where it is missing.

    Returns:
        the largest difference between the file's logits under onnxruntime and the network's, in units of the
        network's largest logit; None where onnxruntime is not installed.

    Raises:
        UsageError: the extra is not installed, or the exporter cannot write this opset.
        ModelError: the network cannot be exported, or the file computes something else.
        HoldfastError: the file cannot be written.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UsageError(f"ONNX needs {error.name}, which is not installed: {_EXTRA}") from error
    proto = _onnx_of(model, size, opset)
    entry = proto.metadata_props.add()
    entry.key, entry.value = "holdfast", json.dumps(metadata, ensure_ascii=False)
    text = io.BytesIO()
    onnx.save(proto, text)
    apart = _difference(model, size, text.getvalue())
    if apart is not None and not apart < _ONNX_TOLERANCE:
        raise ModelError(
            f"the exported network's logits are {apart:.2g} of the largest one away from {type(model).__name__}'s; "
            "nothing was written: try another --opset, or load model.safetensors instead"
        )
    with whole(file) as handle:
        handle.write(text.getvalue())
    return apart


def _onnx_of(model: nn.Module, size: int, opset: int | None) -> Any:
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    try:
        exporter.setLevel(logging.ERROR)
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # the exporter's own deprecations
            program = torch.onnx.export(
                model,
                (torch.zeros(2, 3, size, size),),
                dynamo=True,
                opset_version=opset,
                input_names=["input"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
    except Exception as error:  # the exporter's errors have no common type below this
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{type(model).__name__} cannot be exported to ONNX ({reason})") from error
    finally:
        exporter.setLevel(level)
    if program is None:
        raise ModelError(f"{type(model).__name__} cannot be exported to ONNX")
    proto = program.model_proto
    written = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), None)
    if opset is not None and written != opset:
        raise UsageError(f"opset {opset} cannot be written for {type(model).__name__}; the exporter gives {written}")
    return proto


@torch.inference_mode()
def _difference(model: nn.Module, size: int, onnx_bytes: bytes) -> float | None:
    """How far the file's logits are from the network's, on noise in batches of one and of three."""
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(onnx_bytes, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    apart = 0.0
    for n in (1, 3):
        x = torch.randn(n, 3, size, size, generator=generator)
        wanted = model(x)
        (got,) = session.run(["logits"], {"input": x.numpy()})
        gap = (torch.from_numpy(got) - wanted).abs().max() / wanted.abs().max().clamp_min(1e-6)
        apart = max(apart, float(gap))
    return apart
