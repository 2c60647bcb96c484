"""Mixout (Lee et al. 2020): a training pass uses, in place of w,

    w̃ = (M ∘ w⁰ + (1 − M) ∘ w − p w⁰)/(1 − p),   M_j ~ Bernoulli(p),

whose expectation is w; evaluation uses w.

Readings. On the kernels of linear layers and convolutions of the body; biases, normalisation and the head stay as
they are (mixing the head with 0 instead is dropout). The gradient is that of the printed formula, ∂w̃/∂w = (1 − M)/(1
− p); the authors' code leaves out the 1/(1 − p) in its backward pass (`code_gradient=True`). The caller supplies M.
"""

import copy
from collections.abc import Callable

import torch.nn.functional as functional
from torch import Tensor, nn

from .training import shared_parameters


def mixed(w: Tensor, w0: Tensor, M: Tensor, p: float, code_gradient: bool = False) -> Tensor:
    """w̃, with the gradient of the formula or of the code."""
    value = (M * w0 + (1 - M) * w - p * w0) / (1 - p)
    if code_gradient:
        shadow = (1 - M) * w
        return value.detach() + shadow - shadow.detach()
    return value


class Mix:
    """A hook after one layer that runs it again with w̃; the n-th training pass takes `masks(name, n, w)`."""

    def __init__(
        self, name: str, w0: Tensor, masks: Callable[[str, int, Tensor], Tensor], p: float, code: bool
    ) -> None:
        self.name, self.w0, self.masks, self.p, self.code, self.passes = name, w0, masks, p, code, 0

    def __call__(self, layer: nn.Linear | nn.Conv2d, args: tuple[Tensor], _: Tensor) -> Tensor | None:
        if not layer.training:
            return None
        self.passes += 1
        M = self.masks(self.name, self.passes - 1, layer.weight.detach())
        w = mixed(layer.weight, self.w0, M, self.p, self.code)
        if isinstance(layer, nn.Linear):
            return functional.linear(args[0], w, layer.bias)
        return layer._conv_forward(args[0], w, layer.bias)


def prepared(
    model: nn.Module,
    head_name: str,
    masks: Callable[[str, int, Tensor], Tensor],
    p: float,
    code_gradient: bool = False,
) -> nn.Module:
    """A copy whose body mixes its kernels with the starting point, to hand to `training.train`."""
    model = copy.deepcopy(model)
    for name in shared_parameters(model, head_name, "weights"):
        layer = model.get_submodule(name.removesuffix(".weight"))
        layer.register_forward_hook(Mix(name, layer.weight.detach().clone(), masks, p, code_gradient))
    return model
