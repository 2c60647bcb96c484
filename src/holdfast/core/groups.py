"""Parameter groups for the host's optimiser."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from holdfast.core.types import ParamRef, trainable

GIVEN = "given_lr"  # the user's rate: a OneCycleLR overwrites both lr and initial_lr


def param_groups(
    refs: Iterable[ParamRef],
    extra: Iterable[nn.Parameter],
    owned: Iterable[str],
    *,
    lr: float,
    head_lr: float | None,
    weight_decay: float,
) -> list[dict[str, Any]]:
    """Groups ``body``, ``head``, ``body_no_decay``, ``head_no_decay`` and ``extra``, the empty ones left out.

    Args:
        refs: the network's parameters; those that do not require a gradient are left out.
        extra: parameters of modules that methods added, at the head's rate.
        owned: names of parameters that a penalty owns: no decay there.
        lr: the body's rate.
        head_lr: the head's rate; ``lr`` where None.
        weight_decay: decay of convolution and linear weights; biases, normalisation and tokens have none.
    """
    owned = set(owned)
    head_lr = lr if head_lr is None else head_lr
    groups: dict[str, dict[str, Any]] = {}
    for ref in trainable(refs):
        part = "head" if ref.is_head else "body"
        decays = ref.kind == "weight" and ref.name not in owned
        name = part if decays or not weight_decay else f"{part}_no_decay"
        rate = head_lr if ref.is_head else lr
        made = {"name": name, "params": [], "lr": rate, "weight_decay": weight_decay if decays else 0.0, GIVEN: rate}
        groups.setdefault(name, made)["params"].append(ref.param)
    if added := [p for p in extra if p.requires_grad]:
        groups["extra"] = {"name": "extra", "params": added, "lr": head_lr, "weight_decay": weight_decay}
    order = ("body", "body_no_decay", "head", "head_no_decay", "extra")
    return [groups[name] for name in order if name in groups]
