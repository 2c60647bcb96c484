"""Dropout on convolutional layers ("CNN-DrO." in the RIFLE paper): F ← m ∘ F/(1 − p) after each chosen module.

Readings. Independent over the elements of the map, the caller's masks; a mask of shape (B, C, 1, 1) drops whole
channels (Tompson et al. 2015). Which modules: the caller names them.
"""

import copy
from collections.abc import Callable, Iterable

from torch import Tensor, nn


class MapDropout:
    """A hook after one module: the n-th training pass takes `masks(name, n, map)`."""

    def __init__(self, name: str, masks: Callable[[str, int, Tensor], Tensor], p: float) -> None:
        self.name, self.masks, self.p, self.passes = name, masks, p, 0

    def __call__(self, module: nn.Module, _: tuple[Tensor], F: Tensor) -> Tensor | None:
        if not module.training:
            return None
        self.passes += 1
        return self.masks(self.name, self.passes - 1, F) * F / (1 - self.p)


def prepared(
    model: nn.Module, modules: Iterable[str], masks: Callable[[str, int, Tensor], Tensor], p: float
) -> nn.Module:
    """A copy whose named modules drop parts of their maps, to hand to `training.train`."""
    model = copy.deepcopy(model)
    for name in modules:
        model.get_submodule(name).register_forward_hook(MapDropout(name, masks, p))
    return model
