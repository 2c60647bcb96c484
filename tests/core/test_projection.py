"""DTNH around every penalty there is, sums included: the projection of what the parts alone give."""

import pytest
import torch
import torch.nn.functional as F

from holdfast.core.registry import methods as registered
from methods import text_forms
from methods.loop import NETWORKS, Loop, Weights, assert_close
from reference import dtnh as oracle
from reference.training import dot

LAM = 0.7


def wrapped() -> list[str]:
    """The text of one example of every penalty, and of sums."""
    found = [text_forms.example(stem) for stem in sorted(registered())]
    texts = [str(m) for m in found if m.penalises and not m.children and not m.proximal]
    texts[texts.index("lwf")] = "lwf(warmup=0)"  # nothing is penalised while the body sleeps
    return [*texts, "l2_sp(alpha=0.7)+bss", "l2_sp(alpha=0.7)+know_dist(0.3)"]


def moved(text: str, make, seed: int) -> Loop:
    """A run whose weights have left their starting point, the same way for every text."""
    loop = Loop(text, make)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in loop.model.parameters():
            p += 0.1 * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return loop


def gradients(loop: Loop, sign: int) -> Weights:
    """Of the regularised loss, where the task's is the cross-entropy or its opposite."""
    loop.loss(*loop.batches[1])  # a queue is empty before its first batch
    loop.methods.step(None)
    x, y = loop.methods.on_batch(*loop.batches[0])
    loop.methods.loss(sign * F.cross_entropy(loop.network(x), y)).backward()
    return {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in loop.model.named_parameters()}


@pytest.mark.parametrize("text", wrapped())
@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("scope", ["all", "layer"])
def test_the_gradient_is_the_projection_of_what_the_parts_give(text, make, scope):
    conflicts = []
    for sign in (1, -1):  # in conflict for one of them
        texts = ("", text, f"dtnh({text}, lam={LAM}, scope='{scope}')")
        g_J, both, around = (gradients(moved(t, make, seed=3), sign) for t in texts)
        g_O = {name: both[name] - g_J[name] for name in both}
        assert_close(around, oracle.direction(g_J, g_O, LAM, scope), rtol=1e-9)
        conflicts.append(dot(g_J, g_O) < 0)
    assert sorted(conflicts) == [False, True]
