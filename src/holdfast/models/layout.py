"""Fitting a state dict to a network: prefixes, other layouts, and an error that says what does not match."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from holdfast.core.errors import HoldfastError, ModelError
from holdfast.models.names import Resolved, known
from holdfast.models.zoo import architecture, options

_PREFIXES = ("module.", "model.", "backbone.", "_orig_mod.", "net.")
_AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")  # Inception's and GoogLeNet's second heads, for training alone
_HUGGING_FACE = ("embeddings.", "embedder.", ".encoder.layer.", ".encoder.stages.")


def strip_prefixes(state: Mapping[str, Tensor], wanted: set[str]) -> tuple[dict[str, Tensor], list[str]]:
    """Take off the prefixes that wrappers add, as long as more of the wanted names appear.

    Returns:
        The renamed state dict and a note for each prefix taken off.
    """
    current, notes = dict(state), list[str]()
    prefix: str | None = ""
    while prefix is not None:
        prefix = next((each for each in _PREFIXES if _is_wrapper(each, current, wanted)), None)
        if prefix is not None:
            current = _without(prefix, current)
            notes.append(f"prefix '{prefix}' taken off the weights' names")
    return current, notes


def _is_wrapper(prefix: str, state: Mapping[str, Tensor], wanted: set[str]) -> bool:
    known_now, known_then = len(wanted & state.keys()), len(wanted & _without(prefix, state).keys())
    # Inside a wrapper in a wrapper no name is known yet, but all of them carry the prefix.
    return known_then > known_now or (known_now == 0 and all(key.startswith(prefix) for key in state))


def _without(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items()}


def fit_state(
    model: nn.Module, head: str, state: Mapping[str, Tensor], resolved: Resolved, where: str
) -> tuple[dict[str, Tensor], list[str]]:
    """Make a state dict loadable into a network whose head may have another number of classes.

    Raises:
        ModelError: keys are missing, unexpected or of another shape; counted, the first ones named.
    """
    expected = model.state_dict()
    fitted, notes = strip_prefixes(state, set(expected))
    auxiliary = [key for key in fitted if key.startswith(_AUXILIARY) and key not in expected]
    if auxiliary:
        fitted = {key: value for key, value in fitted.items() if key not in auxiliary}
        notes.append(f"{len(auxiliary)} tensors of auxiliary heads left out")
    # Counters of old files and of some exporters; only their absence is mended.
    counters = {k: v for k, v in expected.items() if k.endswith(".num_batches_tracked") and k not in fitted}
    for convert in (_as_is, _old_densenet, _timm_conversion):
        candidate = convert(model, {**fitted, **counters})
        if not _differences(expected, candidate, head):
            return candidate, notes if convert is _as_is else [*notes, "names or shapes converted to the network's"]
    raise ModelError(_explain(expected, fitted, head, resolved, where))


def _as_is(_model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return state


def _old_densenet(_model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Torchvision's published DenseNets still write ``norm.1`` for ``norm1``."""
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key): value for key, value in state.items()}


def _timm_conversion(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Timm's own filter for the architecture: layouts of the original authors, other image sizes."""
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is None or not type(model).__module__.startswith("timm."):
        return state
    try:
        converted = convert(dict(state), model)
    except Exception:  # a filter may stumble over a layout that it was not written for
        return state
    return {key: value for key, value in converted.items() if isinstance(value, Tensor)}


def _differences(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], head: str) -> dict[str, list[str]]:
    """Kinds of difference with their keys; the head may differ in its rows, or be absent altogether."""
    rows = {f"{head}.weight", f"{head}.bias"}
    missing = [key for key in expected if key not in state]
    if set(missing) == rows & expected.keys():
        missing = []
    unexpected = [key for key in state if key not in expected]
    shapes = [
        f"{key} {tuple(state[key].shape)} for {tuple(value.shape)}"
        for key, value in expected.items()
        if key in state and _shape(state[key], key in rows) != _shape(value, key in rows)
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    return {kind: keys for kind, keys in kinds.items() if keys}


def _shape(tensor: Tensor, rows_are_free: bool) -> tuple[int, ...]:
    return tuple(tensor.shape[1:] if rows_are_free else tensor.shape)


def _explain(
    expected: Mapping[str, Tensor], state: Mapping[str, Tensor], head: str, resolved: Resolved, where: str
) -> str:
    parts = [
        f"{len(keys)} {kind} (first: {', '.join(keys[:3])})"
        for kind, keys in _differences(expected, state, head).items()
    ]
    other = _looks_like(state, resolved, Path(where).stem)
    advice = f" They fit {other}: pass that name." if other else ""
    if not other and any(mark in key for key in state for mark in _HUGGING_FACE):
        advice = " They look like Hugging Face's layout, which is not converted: use timm's or torchvision's file."
    return f"{where} are the weights of another architecture than {resolved}: {'; '.join(parts)}.{advice}"


def _looks_like(state: Mapping[str, Tensor], resolved: Resolved, file: str) -> str | None:
    """A network with a name like the wanted one's or the file's, of either library, that the state dict fits."""
    stem = resolved.name.partition(".")[0]
    for library in ("torchvision", "timm"):
        names = [name for name in known(library) if f"{library}:{name}" != str(resolved)]
        similar = difflib.get_close_matches(stem, names, n=8, cutoff=0.5)
        for name in dict.fromkeys(similar + difflib.get_close_matches(file, names, n=8, cutoff=0.5)):
            expected = _keys_of(Resolved(library, name))
            shared = sum(key in state and state[key].shape == shape for key, shape in expected.items())
            if expected.keys() == state.keys() and shared >= len(expected) - 2:  # the head's rows may differ
                return f"{library}:{name}"
    return None


def _keys_of(resolved: Resolved) -> dict[str, torch.Size]:
    try:
        with torch.device("meta"):
            model = architecture(resolved, options(resolved))
    except (HoldfastError, RuntimeError, NotImplementedError):  # an initialiser that needs real memory
        return {}
    return {key: value.shape for key, value in model.state_dict().items()}
