"""Dropout on convolutional layers against its formula and the oracle; where it acts."""

import pytest
import torch

import holdfast
from holdfast.core.errors import ModelError, UsageError
from methods import contract
from methods.loop import NETWORKS, Loop
from methods.oracles import OPTIONS, batches, coins, follow
from methods.trajectories import follows_golden
from reference import conv_dropout as oracle
from reference.networks import HEAD, conv_net, token_net
from reference.training import train

BOTH = "conv_dropout(p=0.3, after='stage1,stage2')"
CONVOLUTIONS = ["stage1.0", "stage2.0"]


@contract.every_check
@pytest.mark.parametrize("text", [BOTH, "conv_dropout(p=0.3, unit='channel', after='stage1')"])
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


def masks_of(p, unit):
    def masks(name, n, F):
        shape = F.shape if unit == "element" else (*F.shape[:2], *(1,) * (F.ndim - 2))
        return coins(shape, 1 - p, "conv_dropout", name, n)

    return masks


def noisy_run(make, modules, p, unit):
    noisy = oracle.prepared(make(), modules, masks_of(p, unit), p)
    return train(noisy, HEAD, batches(), steps=8, **OPTIONS)


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("unit", ["element", "channel"])
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_trajectory_is_the_oracles(make, unit, p):
    text = f"conv_dropout(p={p}, unit='{unit}', after='stage1,stage2')"
    follow(text, make, noisy_run(make, ["stage1", "stage2"], p, unit))


@pytest.mark.parametrize("unit", ["element", "channel"])
def test_after_every_convolution_by_default(unit):
    follow(f"conv_dropout(p=0.2, unit='{unit}')", conv_net, noisy_run(conv_net, CONVOLUTIONS, 0.2, unit))


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("unit", ["element", "channel"])
def test_p_is_the_probability_to_drop(p, unit):
    """The rate of zeros and the mean of the rest, over maps of ones."""
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 400, 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(400, 2)
    )
    torch.nn.init.zeros_(net[0].weight)
    torch.nn.init.ones_(net[0].bias)
    holdfast.compose(f"conv_dropout(p={p}, unit='{unit}')").prepare(net, "3")
    seen = []
    net[0].register_forward_hook(lambda _, __, out: seen.append(out))
    net(torch.ones(20, 3, 4, 4))
    F = seen[0]
    assert (F == 0).double().mean().item() == pytest.approx(p, abs=0.02)
    assert F[F != 0].mean().item() == pytest.approx(1 / (1 - p), rel=1e-6)
    whole = ((F == 0).flatten(2).sum(2) % 16 == 0).all()
    assert bool(whole) == (unit == "channel")


def test_a_tap_at_the_same_place_sees_the_map_before_the_dropout():
    seen = []
    loop = Loop("conv_dropout(p=0.5, after='stage1')+ptr(T=inf)")
    plain = token_net()
    plain.stage1.register_forward_hook(lambda _, __, out: seen.append(out))
    x, _ = loop.batches[0]
    plain(x)
    loop.methods.remove()
    methods = holdfast.compose("conv_dropout(p=0.5, after='stage1')", Look())
    methods.prepare(loop.model, HEAD)
    methods.loss(loop.model(x).sum())
    assert torch.equal(methods.log["look.map"], seen[0])


class Look(holdfast.Method):
    """Notes what the tap at the first stage records."""

    stem = "look"
    taps = ("stage1",)

    def penalty(self, step, state):
        state.figures["map"] = step.features("stage1").detach()


def test_a_network_without_a_convolution_is_refused_with_the_cure():
    with pytest.raises(
        ModelError, match=r"TokenNet has no convolution; .* at the top are 'embed', 'stage1', 'stage2', 'head'"
    ):
        Loop("conv_dropout", token_net)
    with pytest.raises(ModelError, match=r"ConvNet has no module 'stage9'; name modules"):
        Loop("conv_dropout(after='stage1, stage9')", conv_net)


def test_a_module_that_gives_no_tensor_is_refused():
    class Pair(torch.nn.Module):
        def forward(self, x):
            return x, x

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.pair, self.head = Pair(), torch.nn.Linear(3, 2)

        def forward(self, x):
            return self.head(self.pair(x)[0])

    net = Net()
    holdfast.compose("conv_dropout(after='pair')").prepare(net, "head")
    with pytest.raises(ModelError, match=r"expected a tensor from each module, Pair gives <class 'tuple'>"):
        net(torch.ones(1, 3))


def test_says_where_it_acts():
    assert Loop("conv_dropout", conv_net).methods.describe() == [
        "conv_dropout: each element of the output of each of 2 modules, 'stage1.0' to 'stage2.0', dropped with "
        "probability 0.1 in training"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("conv_dropout(p=-1)", "p must be finite and >= 0 and <= 1, got -1"),
        ("conv_dropout(unit='row')", "unit must be one of 'element', 'channel', got 'row'"),
    ],
)
def test_values_out_of_range_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        holdfast.compose(text)


def test_golden_trajectory():
    follows_golden(BOTH)
