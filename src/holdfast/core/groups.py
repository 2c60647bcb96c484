"""Parameter groups for the host's optimiser."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from holdfast.core.types import ParamRef

GIVEN = "given_lr"  # the user's rate: a OneCycleLR overwrites both lr and initial_lr

_PRETRAINED = ("body", "source")


def param_groups(
    parts: Mapping[str, Sequence[ParamRef]],
    owned: Iterable[str],
    *,
    lr: float,
    head_lr: float | None,
    weight_decay: float,
) -> list[dict[str, Any]]:
    """A group for each part and, behind it, a ``_no_decay`` one; the empty ones are left out.

    Args:
        parts: parameters by part: ``body`` and ``source``, the pre-trained network's own modules that methods keep, at
            the body's rate; ``head`` and ``extra``, new modules that methods add, at the head's. Those that do not
            require a gradient are left out.
        owned: names of parameters that a penalty owns: no decay there.
        lr: the body's rate.
        head_lr: the head's rate; ``lr`` where None.
        weight_decay: decay of convolution and linear weights; biases, normalisation and tokens have none.
    """
    owned = set(owned)
    head_lr = lr if head_lr is None else head_lr
    groups: dict[str, dict[str, Any]] = {}
    for part, ref in ((part, ref) for part, refs in parts.items() for ref in refs):
        if not ref.param.requires_grad:
            continue
        decays = ref.kind == "weight" and ref.name not in owned
        name = part if decays or not weight_decay else f"{part}_no_decay"
        rate = lr if part in _PRETRAINED else head_lr
        made = {"name": name, "params": [], "lr": rate, "weight_decay": weight_decay if decays else 0.0, GIVEN: rate}
        groups.setdefault(name, made)["params"].append(ref.param)
    order = [name for part in parts for name in (part, f"{part}_no_decay")]
    return [groups[name] for name in order if name in groups]
