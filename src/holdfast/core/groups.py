"""Parameter groups for the host's optimiser."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from holdfast.core.types import ParamRef

GIVEN = "given_lr"  # the user's rate: a OneCycleLR overwrites both lr and initial_lr


def param_groups(
    refs: Iterable[ParamRef],
    extra: Iterable[ParamRef],
    owned: Iterable[str],
    *,
    lr: float,
    head_lr: float | None,
    weight_decay: float,
) -> list[dict[str, Any]]:
    """Groups ``body``, ``head``, ``extra``, and of each a ``_no_decay`` one; the empty ones are left out.

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
    named = [("head" if r.is_head else "body", r) for r in refs] + [("extra", r) for r in extra]
    for part, ref in named:
        if not ref.param.requires_grad:
            continue
        decays = ref.kind == "weight" and ref.name not in owned
        name = part if decays or not weight_decay else f"{part}_no_decay"
        rate = lr if part == "body" else head_lr
        made = {"name": name, "params": [], "lr": rate, "weight_decay": weight_decay if decays else 0.0, GIVEN: rate}
        groups.setdefault(name, made)["params"].append(ref.param)
    order = [name for part in ("body", "head", "extra") for name in (part, f"{part}_no_decay")]
    return [groups[name] for name in order if name in groups]
