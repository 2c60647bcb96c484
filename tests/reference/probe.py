"""One step at hand for tests of single gradients, and a comparison of parameter dictionaries."""

import copy

import torch
from torch import Tensor, nn

from .networks import HEAD, conv_net, image_batches, token_net
from .training import Step, Weights, begin, look

NETWORKS = (conv_net, token_net)


def first_step(
    model: nn.Module,
    moved: float = 0.0,
    taps: tuple[str, ...] = (),
    extra: dict[str, nn.Module] | None = None,
) -> tuple[Step, Tensor]:
    """The first batch's step and its J, with the weights moved off the starting point by seeded noise."""
    model, source, extra = copy.deepcopy(model), copy.deepcopy(model).eval(), copy.deepcopy(extra or {})
    run, _ = begin(model, HEAD, extra)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in model.parameters():
            p += moved * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return look(run, source, *image_batches()[0], taps, extra)


def assert_close(a: Weights, b: Weights) -> None:
    """The same names and, to rounding in float64, the same numbers."""
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-12, atol=1e-14, msg=lambda m, n=name: f"{n}: {m}")
