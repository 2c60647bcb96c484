"""Stochastic normalisation (Kou et al. 2020).

    x̂_0 = (x − μ̃)/√(σ̃² + ε) by the moving statistics,   x̂_1 = (x − μ)/√(σ² + ε) by the batch's,
    y = γ((1 − s) x̂_0 + s x̂_1) + β,   s_c ~ Bernoulli(p) for each channel c; p = 0.5.

Readings. s = 1 chooses the batch's statistics, as in the widest port's documentation. The moving statistics are those
from before this batch; they are constants for the gradient and move on afterwards as batch-norm's do (unbiased
variance). In evaluation it is batch-norm. The caller supplies s.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn


class StochNorm(nn.Module):
    """Stands in for one batch-norm layer under the same parameter and buffer names; pass n takes `coins(name, n)`."""

    def __init__(self, bn: nn.modules.batchnorm._BatchNorm, name: str, coins: Callable[[str, int], Tensor]) -> None:
        super().__init__()
        self.weight, self.bias, self.eps, self.momentum = bn.weight, bn.bias, bn.eps, bn.momentum
        self.register_buffer("running_mean", bn.running_mean)
        self.register_buffer("running_var", bn.running_var)
        self.register_buffer("num_batches_tracked", bn.num_batches_tracked)
        self.name, self.coins, self.passes = name, coins, 0

    def forward(self, x: Tensor) -> Tensor:
        """Channel by channel on axis 1."""
        s = self.coins(self.name, self.passes) if self.training else torch.zeros(x.shape[1])
        out = [self.channel(x[:, c], c, s[c].item()) for c in range(x.shape[1])]
        if self.training:
            self.passes += 1
            self.num_batches_tracked += 1
        return torch.stack(out, 1)

    def channel(self, x: Tensor, c: int, s: float) -> Tensor:
        """One channel's output; its moving statistics are updated last."""
        mean, variance = x.mean(), ((x - x.mean()) ** 2).mean()
        old_mean, old_variance = self.running_mean[c].clone(), self.running_var[c].clone()
        x0 = (x - old_mean) / torch.sqrt(old_variance + self.eps)
        x1 = (x - mean) / torch.sqrt(variance + self.eps)
        if self.training:
            unbiased = variance.detach() * x.numel() / (x.numel() - 1)
            self.running_mean[c] = (1 - self.momentum) * old_mean + self.momentum * mean.detach()
            self.running_var[c] = (1 - self.momentum) * old_variance + self.momentum * unbiased
        return self.weight[c] * ((1 - s) * x0 + s * x1) + self.bias[c]


def prepared(model: nn.Module, coins: Callable[[str, int], Tensor]) -> nn.Module:
    """A copy with every batch-norm layer replaced, to hand to `training.train`; modes are kept."""
    model = copy.deepcopy(model)
    found = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for name, bn in found:
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, StochNorm(bn, name, coins).train(bn.training))
    return model
