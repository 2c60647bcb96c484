"""One call from a name to a network ready for fine-tuning: weights, new head, the old head kept."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from holdfast.core.errors import UsageError
from holdfast.core.locate import Located, locate, make_tappable
from holdfast.models import heads, zoo
from holdfast.models.embedded import EMBEDDED
from holdfast.models.layout import fit_state
from holdfast.models.names import Resolved, resolve
from holdfast.models.preprocessing import Preprocessing, preprocessing
from holdfast.models.weights import WeightsSource, file_sha256, read_weights, tensors_sha256


@dataclass(frozen=True)
class Built:
    """A network ready for fine-tuning.

    Attributes:
        model: the network, with a fresh head for the target's classes, in training mode.
        head: where its head and its representation are.
        source_head: the untouched head of the pre-trained network; ``None`` where the weights bring none.
        name: the resolved name, ``library:name``.
        preprocessing: the input it was pre-trained with.
        source: where the weights came from; ``None`` for a network that starts from nothing.
        options: keyword arguments with which the library alone builds the network that the result's weights fit.
        notes: what was done to make the weights fit, in words.
    """

    model: nn.Module
    head: Located
    source_head: nn.Module | None
    name: str
    preprocessing: Preprocessing
    source: WeightsSource | None
    options: dict[str, Any]
    notes: tuple[str, ...]


def build(
    name: str,
    num_classes: int,
    *,
    weights: Path | None = None,
    pretrained: bool = True,
    image_size: int | None = None,
    drop_rate: float | None = None,
    seed: int = 0,
) -> Built:
    """Build a classifier with pre-trained weights and a new head.

    Args:
        name: ``timm:NAME``, ``torchvision:NAME``, ``holdfast:NAME``, or a bare name.
        num_classes: of the target task.
        weights: a local file, safetensors or a pickle of tensors; it wins over the hub.
        pretrained: fetch the hub's weights (the package's own for ``holdfast:``) where there is no file.
        image_size: side of the input; needed by networks that are built for one size (ViT, Swin, …).
        drop_rate: rate of the dropout before the head, in [0, 1); the network's own where it is missing.
        seed: of the new head, and of the whole network where it starts from nothing. The global generator is untouched.

    Raises:
        UsageError: unknown name, impossible option, no such file.
        ModelError: no single linear head, weights of another architecture, an unreadable file, the hub out of reach.
    """
    _check(num_classes, image_size, drop_rate)
    resolved = resolve(name)
    chosen = zoo.options(resolved, num_classes, image_size, drop_rate)
    with _initialised(seed):
        model, source, notes = _with_weights(resolved, weights, pretrained, chosen)
    located = _tappable(model, resolved, drop_rate)
    old = model.get_submodule(located.head)
    assert isinstance(old, nn.Linear)
    source_head = copy.deepcopy(old) if source is not None and source.classes else None
    heads.replace(model, located.head, heads.fresh_head(old, num_classes, seed=seed))
    from_hub = source is not None and source.kind == "hub"
    return Built(
        model=model.train(),
        head=replace(located, out_features=num_classes),
        source_head=source_head,
        name=str(resolved),
        preprocessing=preprocessing(resolved, model, from_hub=from_hub, image_size=image_size),
        source=source,
        options=chosen,
        notes=tuple(notes),
    )


def _check(num_classes: int, image_size: int | None, drop_rate: float | None) -> None:
    if num_classes < 1:
        raise UsageError(f"num_classes is {num_classes}; expected at least 1.")
    if image_size is not None and image_size < 1:
        raise UsageError(f"image_size is {image_size}; expected a positive number of pixels.")
    if drop_rate is not None and not 0 <= drop_rate < 1:
        raise UsageError(f"drop_rate is {drop_rate}; expected a number in [0, 1).")


@contextmanager
def _initialised(seed: int) -> Iterator[None]:
    """Initialise from a seed, and give the global generator back as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _with_weights(
    resolved: Resolved, file: Path | None, pretrained: bool, chosen: dict[str, Any]
) -> tuple[nn.Module, WeightsSource | None, list[str]]:
    """The network with its weights and its source head, before the new head."""
    kind: Literal["file", "packaged"] = "file"
    if resolved.library == "holdfast" and file is None and pretrained:
        kind, file = "packaged", EMBEDDED[resolved.name].weights
    if file is not None:
        state = read_weights(file)
        model = zoo.architecture(resolved, _for_source(resolved, chosen))
        classes, notes = _load(model, state, resolved, str(file))
        return model, WeightsSource(kind, str(file), file_sha256(file), classes), notes
    if not pretrained:
        return zoo.architecture(resolved, chosen), None, []
    if resolved.library == "timm":
        model = zoo.timm_model(resolved, _for_source(resolved, chosen), pretrained=True)
        classes, tag, notes = zoo.timm_classes(resolved), _timm_tag(model), list[str]()
    else:
        model, tag = zoo.torchvision_from_hub(resolved)
        notes = []
        if {"image_size", "input_size"} & chosen.keys():
            sized = zoo.architecture(resolved, _for_source(resolved, chosen))
            classes, notes = _load(sized, model.state_dict(), resolved, tag)
            model = sized
        classes = locate(model).out_features
    return model, WeightsSource("hub", tag, tensors_sha256(model.state_dict()), classes), notes


def _for_source(resolved: Resolved, chosen: dict[str, Any]) -> dict[str, Any]:
    """Options for the network as it was pre-trained: the library's own number of classes, where it has one."""
    if resolved.library == "holdfast" or (resolved.library == "timm" and zoo.timm_classes(resolved) == 0):
        return chosen
    return {key: value for key, value in chosen.items() if key != "num_classes"}


def _timm_tag(model: nn.Module) -> str:
    config: Any = model.pretrained_cfg
    return str(config.get("hf_hub_id") or config.get("url") or config.get("tag"))


def _load(model: nn.Module, state: dict[str, Tensor], resolved: Resolved, where: str) -> tuple[int, list[str]]:
    """Load a state dict, whatever the number of its classes; returns that number (0 without a head) and the notes."""
    located = locate(model)
    if resolved.library == "torchvision" and resolved.name.startswith("vit_"):
        state = _interpolated(model, state)
    state, notes = fit_state(model, located.head, state, resolved, where)
    weight = state.get(f"{located.head}.weight")
    if weight is not None:
        old = model.get_submodule(located.head)
        assert isinstance(old, nn.Linear)
        heads.replace(model, located.head, heads.resized(old, weight.shape[0]))
    current = OrderedDict(state)
    # Some layers read the version of their layout here, and a file of tensors alone has none.
    current._metadata = model.state_dict()._metadata  # type: ignore[attr-defined]
    model.load_state_dict(current, strict=weight is not None)  # fit_state lets nothing but a head be missing
    return (0, [*notes, "the weights bring no head"]) if weight is None else (weight.shape[0], notes)


def _interpolated(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    from torchvision.models.vision_transformer import interpolate_embeddings

    side: Any = model.image_size
    fits = model.state_dict()["encoder.pos_embedding"].shape == state.get("encoder.pos_embedding", torch.empty(0)).shape
    if fits or "encoder.pos_embedding" not in state:
        return state
    return dict(interpolate_embeddings(side, model.patch_size, OrderedDict(state)))


def _tappable(model: nn.Module, resolved: Resolved, drop_rate: float | None) -> Located:
    """Locate the head, set the rate of the dropout before it, and make that dropout spare its input."""
    located = locate(model)
    if drop_rate is not None and resolved.library != "timm":
        tap = model.get_submodule(located.rep)
        if not isinstance(tap, nn.Dropout):
            raise UsageError(f"{resolved} has no dropout before its head; leave drop_rate out, or take timm's network.")
        tap.p = drop_rate
    make_tappable(model, located)
    return located
