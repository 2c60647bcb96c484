"""A forward without memory: what it finds, and that it leaves no trace."""

from contextlib import nullcontext

import torch
from torch import nn

from holdfast.core import meta


class Around(nn.Module):
    """Calls one child, reads the weight of another."""

    def __init__(self, width=3):
        super().__init__()
        self.called, self.read = nn.Linear(width, 4), nn.Linear(4, 2)

    def forward(self, x):
        return nn.functional.linear(self.called(x), self.read.weight)


def test_says_which_forwards_run_and_leaves_no_trace():
    net = Around().eval()
    state, before = torch.get_rng_state(), net.called.weight.clone()
    assert meta.called(net) == {"", "called"}
    assert not net.training
    assert not any(module._forward_pre_hooks for module in net.modules())
    assert torch.equal(net.called.weight, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_of_a_network_that_cannot_be_run_attention_alone_keeps_its_projections():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.attention = nn.Embedding(5, 4), nn.MultiheadAttention(4, 2)

        def forward(self, x):
            return self.attention(*[self.table(x)] * 3)[0]

    assert meta.called(Tokens()) == {"", "table", "attention"}


def test_an_input_that_does_not_fit_is_followed_by_the_next_guess():
    seen = []

    class Picky(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            seen.append(x.shape[-1])
            if x.shape[-1] != 64:
                raise ValueError("too large")
            return self.conv(x)

    output, reason = meta.run(Picky(), lambda twin: nullcontext())
    assert seen == [224, 256, 299, 384, 96, 64]
    assert output.shape == (2, 2, 64, 64)
    assert reason == ""
