"""Batch-norm layers that keep the statistics they were pre-trained with."""

from __future__ import annotations

import functools

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def batchnorm_modules(model: nn.Module) -> dict[str, nn.Module]:
    """The batch-norm layers by module path, subclasses (timm's with activation, synchronised ones) included."""
    return {path: module for path, module in model.named_modules() if isinstance(module, _BatchNorm)}


def freeze_batchnorm(model: nn.Module) -> int:
    """Keep every batch-norm layer in evaluation mode through later calls of ``model.train()``.

    The running statistics are used and no longer move; the affine parameters still train. The model can be pickled and
    deep-copied as before, and the copy is frozen too.

    Returns:
        How many layers there are; 0 for networks with other kinds of normalisation.
    """
    layers = batchnorm_modules(model)
    for layer in layers.values():
        object.__setattr__(layer, "train", functools.partial(_stay_in_evaluation, layer))
        layer.eval()
    return len(layers)


def _stay_in_evaluation(layer: nn.Module, mode: bool = True) -> nn.Module:
    for child in layer.children():  # an activation or a dropout that the layer carries follows the mode
        child.train(mode)
    layer.training = False
    return layer
