"""A tiny classifier, tiny data and the methods that every host trains with."""

import copy
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import nn

import holdfast
from holdfast.core.method import Method, hyper

CLASSES, SIDE, BATCH, STEPS_PER_EPOCH, EPOCHS = 3, 8, 12, 4, 3
IMAGES, STEPS = BATCH * STEPS_PER_EPOCH, STEPS_PER_EPOCH * EPOCHS
LR, HEAD_LR, SEED = 0.02, 0.05, 7
# l2 cannot stand beside l2_sp (both own the weights), so the fifth is Guided, which uses the hooks that are left over
TEXT = "rifle(periods=4)+dtnh(l2_sp(alpha=0.1))+ptr(R=3, m=1, T=5)"
ADDITIVE = "rifle(periods=4)+l2_sp(alpha=0.1)"


@dataclass(frozen=True)
class Guided(Method):
    """Mirrors the batch, and pulls the representation to the starting point's: on_batch, teacher, graph penalty."""

    stem: ClassVar[str] = "guided"
    taps: ClassVar[tuple[str, ...]] = ("rep",)
    needs_teacher: ClassVar[bool] = True

    strength: float = hyper(0.1, low=0, doc="factor of the penalty")

    def on_batch(self, batch, state):
        return replace(batch, x=batch.x.flip(-1))

    def penalty(self, step, state):
        distance = step.features("rep") - step.teacher("rep")
        return self.strength * distance.square().sum(1).mean()


def five():
    """rifle, dtnh, l2_sp, ptr and Guided."""
    return holdfast.compose(TEXT, Guided())


class Patches(nn.Module):
    """A classifier without batch statistics that answers as Hugging Face's do; any host can train it."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, stride=4)
        self.mix = nn.Linear(8, 12)
        self.norm = nn.LayerNorm(12)
        self.classifier = nn.Linear(12, CLASSES)

    def forward(self, pixel_values):
        tokens = self.embed(pixel_values).flatten(2).transpose(1, 2)
        return {"logits": self.classifier(torch.tanh(self.norm(self.mix(tokens))).mean(1))}


def network(dtype=torch.float32):
    """The same network at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Patches().to(dtype)


def data(dtype=torch.float32):
    """The same images and labels at every call: (IMAGES, 3, SIDE, SIDE) and (IMAGES,)."""
    gen = torch.Generator().manual_seed(2)
    y = torch.randint(0, CLASSES, (IMAGES,), generator=gen)
    x = torch.randn(IMAGES, 3, SIDE, SIDE, generator=gen) + y.view(-1, 1, 1, 1)
    return x.to(dtype), y


def weights(model):
    """A copy of all weights."""
    return copy.deepcopy(model.state_dict())


def assert_same(a, b):
    """Bit-equal weights."""
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different, {name: float((a[name] - b[name]).abs().max()) for name in different}


def assert_differ(a, b):
    """Some weight differs."""
    assert any(not torch.equal(a[name], b[name]) for name in a)


def assert_close(a, b, tolerance):
    """All weights within the tolerance, in absolute terms."""
    gap = max(float((a[name] - b[name]).abs().max()) for name in a)
    assert gap < tolerance
