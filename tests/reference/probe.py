"""One step at hand for tests of single gradients, and a comparison of parameter dictionaries."""

import copy

import torch
from torch import Tensor, nn

from .networks import HEAD, conv_net, image_batches, token_net
from .training import Step, Weights, cross_entropy, run_forward, snapshot

NETWORKS = (conv_net, token_net)


def first_step(
    model: nn.Module,
    moved: float = 0.0,
    taps: tuple[str, ...] = (),
    extra: dict[str, nn.Module] | None = None,
) -> tuple[Step, Tensor]:
    """The first batch's step and its J, with the weights moved off the starting point by seeded noise."""
    model, source = copy.deepcopy(model), copy.deepcopy(model).eval()
    w0 = snapshot(dict(model.named_parameters()))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in model.parameters():
            p += moved * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    w = dict(model.named_parameters())
    added = copy.deepcopy(extra or {})
    w |= {f"{key}.{name}": p for key, module in added.items() for name, p in module.named_parameters()}
    x, y = image_batches()[0]
    forward = run_forward(model, HEAD, x, taps)
    return Step(model, source, HEAD, w, w0, x, y, 0, forward, added), cross_entropy(forward.logits, y)


def assert_close(a: Weights, b: Weights) -> None:
    """The same names and, to rounding in float64, the same numbers."""
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-12, atol=1e-14, msg=lambda m, n=name: f"{n}: {m}")
