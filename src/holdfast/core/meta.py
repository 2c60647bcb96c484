"""One forward of a network without its memory: parameters and buffers become meta tensors, nothing is computed."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn

_SIDES = (224, 256, 299, 384, 96, 64, 48, 32, 28, 16, 8)


def run(model: nn.Module, watch: Callable[[nn.Module], AbstractContextManager[None]]) -> tuple[Any, str]:
    """Run a copy of the network in training mode with the first input that it accepts, guessed from its layers.

    Args:
        model: the network; its state, its mode and the global random generator are left as they are.
        watch: given the copy, a context for the forward; entered anew for each guess.

    Returns:
        What the network gave and ``""``, or None and why no guess fits.
    """
    reason = "it has no convolution and no linear layer to guess an input from"
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    for shape in _input_shapes(model):
        try:
            with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
                warnings.simplefilter("ignore")
                twin = _on_meta(model).train()
                with watch(twin):
                    return twin(torch.empty(shape, device="meta", dtype=dtype)), ""
        except Exception as error:  # whatever the network raises for an input that is not its kind
            reason = reason if reason.startswith("on ") else f"on {shape}: {type(error).__name__}: {error}"
    return None, reason


def called(model: nn.Module) -> set[str]:
    """Paths of the modules whose own forward runs in a forward of the network.

    A layer may be there for its weights alone: attention reads those of its projections. Of a network that cannot be
    run, every module counts but the children of ``nn.MultiheadAttention``.
    """
    ran: set[str] = set()

    @contextmanager
    def watch(twin: nn.Module) -> Iterator[None]:
        ran.clear()
        for path, module in twin.named_modules():
            module.register_forward_pre_hook(lambda _module, _args, path=path: ran.add(path))
        with torch.no_grad():
            yield

    _, reason = run(model, watch)
    if not reason:
        return ran
    modules = dict(model.named_modules())
    return {p for p in modules if not isinstance(modules[p.rpartition(".")[0]], nn.MultiheadAttention)}


def _on_meta(model: nn.Module) -> nn.Module:
    memo: dict[int, Any] = {}
    for tensor in [*model.parameters(), *model.buffers()]:
        empty = torch.empty_like(tensor, device="meta")
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    return copy.deepcopy(model, memo)


def _input_shapes(model: nn.Module) -> Iterator[tuple[int, ...]]:
    first = next((m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))), None)
    if isinstance(first, nn.Linear):
        yield (2, first.in_features)
    if first is not None:
        widths = [m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)][:1]
        for channels in dict.fromkeys([*widths, 3]):  # a network may fold pixels into channels before its first layer
            for side in dict.fromkeys([*_declared_sides(model), *_SIDES]):
                yield (2, channels, side, side)


def _declared_sides(model: nn.Module) -> Iterator[int]:
    declared: tuple[Any, ...] = (
        getattr(getattr(model, "patch_embed", None), "img_size", None),  # timm's transformers
        getattr(model, "image_size", None),  # torchvision's
        getattr(getattr(model, "config", None), "image_size", None),  # Hugging Face's
        (getattr(model, "pretrained_cfg", None) or {}).get("input_size"),
    )
    for size in declared:
        side = size[-1] if isinstance(size, (tuple, list)) else size
        if isinstance(side, int):
            yield side
