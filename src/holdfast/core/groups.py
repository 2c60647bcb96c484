"""Parameter groups for the host's optimiser."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from holdfast.core.extras import Extras
from holdfast.core.types import ParamRef

GIVEN = "given_lr"  # the user's rate: a OneCycleLR overwrites both lr and initial_lr
_PRETRAINED = ("body", "source")


def param_groups(
    refs: Sequence[ParamRef],
    extras: Extras,
    owned: Iterable[str],
    *,
    lr: float,
    head_lr: float | None,
    weight_decay: float,
) -> list[dict[str, Any]]:
    """Groups ``body``, ``head``, ``source``, ``extra``, behind each a ``_no_decay`` one; the empty ones are left out.

    Args:
        refs: the network's parameters; those that do not require a gradient are left out.
        extras: modules that methods added: what comes from the pre-trained network, such as its head, forms ``source``,
            at the body's rate; new ones form ``extra``, at the head's.
        owned: names of parameters that a penalty owns: no decay there.
        lr: the body's rate.
        head_lr: the head's rate; ``lr`` where None.
        weight_decay: decay of convolution and linear weights; biases, normalisation and tokens have none.
    """
    owned = set(owned)
    head_lr = lr if head_lr is None else head_lr
    parts = {
        "body": [r for r in refs if not r.is_head],
        "head": [r for r in refs if r.is_head],
        "source": extras.pretrained(),
        "extra": extras.new(),
    }
    groups: dict[str, dict[str, Any]] = {}
    for part, ref in ((part, ref) for part, found in parts.items() for ref in found):
        if not ref.param.requires_grad:
            continue
        decays = ref.kind == "weight" and ref.name not in owned
        name = part if decays or not weight_decay else f"{part}_no_decay"
        rate = lr if part in _PRETRAINED else head_lr
        made = {"name": name, "params": [], "lr": rate, "weight_decay": weight_decay if decays else 0.0, GIVEN: rate}
        groups.setdefault(name, made)["params"].append(ref.param)
    order = [name for part in parts for name in (part, f"{part}_no_decay")]
    return [groups[name] for name in order if name in groups]
