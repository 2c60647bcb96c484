"""The rates that the optimiser's last step was taken with."""

from __future__ import annotations

from torch import Tensor
from torch.optim import Optimizer


class TakenRates:
    """Each parameter's own rate in the last step: as methods had it, and before a scheduler moves it on."""

    def __init__(self) -> None:
        self._rates: dict[int, float] = {}

    def note(self, optimizer: Optimizer) -> None:
        """Take down the rates that are in the optimiser's groups now."""
        for group in optimizer.param_groups:
            rate = float(group["lr"])
            # without a gradient the optimiser leaves it alone
            self._rates |= {id(p): 0.0 if p.grad is None else rate for p in group["params"]}

    def of(self, param: Tensor) -> float:
        """The rate of a parameter; 0 where the step left it alone."""
        return self._rates.get(id(param), 0.0)
