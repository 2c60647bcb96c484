"""New heads: the same kind of layer as the old one, drawn from a generator of their own."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn


def fresh_head(old: nn.Linear, num_classes: int, *, seed: int) -> nn.Linear:
    """A linear layer of the old one's type, width and device, with newly drawn weights.

    Weight and bias are drawn from U(-1/√D, 1/√D), the distribution of a new ``nn.Linear``, where D is ``in_features``.

    Args:
        old: the layer it will replace; left as it is. Where it has no bias, neither has the new one.
        num_classes: rows of the new weight.
        seed: keys the generator; the global one is not touched, and the same seed gives the same head on every device.
    """
    generator = torch.Generator().manual_seed(seed)
    bound = 1 / math.sqrt(old.in_features)

    def draw(like: Tensor, *shape: int) -> nn.Parameter:
        values = torch.empty(shape, dtype=torch.float32).uniform_(-bound, bound, generator=generator)
        return nn.Parameter(values.to(like.device, like.dtype))

    head = resized(old, num_classes)
    head.weight = draw(old.weight, num_classes, old.in_features)
    if old.bias is not None:
        head.bias = draw(old.bias, num_classes)
    return head


def resized(old: nn.Linear, num_classes: int) -> nn.Linear:
    """A layer of the old one's type with room for another number of classes, its values zero."""
    head = copy.deepcopy(old)
    head.out_features = num_classes
    head.weight = nn.Parameter(old.weight.new_zeros(num_classes, old.in_features))
    if old.bias is not None:
        head.bias = nn.Parameter(old.bias.new_zeros(num_classes))
    return head


def replace(model: nn.Module, path: str, head: nn.Linear) -> None:
    """Put a head at a module path, and tell the model its number of classes where it keeps one."""
    model.set_submodule(path, head)
    if isinstance(getattr(model, "num_classes", None), int):
        model.num_classes = head.out_features  # type: ignore[assignment]
