"""FSP against its formula, limit cases, the oracle, and inside DTNH."""

import pytest
import torch
from torch import nn

import holdfast
from holdfast.core.errors import UsageError
from holdfast.functional.maps import flow
from methods import contract
from methods.loop import NETWORKS, Loop, assert_close, conv_net, frozen_conv_net, token_net
from methods.oracles import follow
from methods.trajectories import follows_golden
from reference import dtnh as dtnh_oracle
from reference import fsp as oracle
from reference.networks import STAGES


@contract.every_check
def test_contract(check):
    check(holdfast.FSP(lam=0.3))


@pytest.mark.parametrize("make", [*NETWORKS, frozen_conv_net])
def test_trajectory_is_the_oracles(make):
    follow("fsp(lam=0.7)", make, {"penalty": oracle.penalty(0.7, [STAGES]), "taps": STAGES})


@pytest.mark.parametrize("make", NETWORKS)
def test_named_pairs_are_the_oracles(make):
    pairs = [("stage1.0", "stage2.1"), ("stage2.1", "stage2.0"), ("stage1.0", "stage1.0")]
    text = "fsp(lam=0.2, layers='stage1.0:stage2.1, stage2.1:stage2.0,stage1.0:stage1.0')"
    taps = ("stage1.0", "stage2.1", "stage2.0")
    follow(text, make, {"penalty": oracle.penalty(0.2, pairs), "taps": taps})


@pytest.mark.parametrize("make", NETWORKS)
def test_inside_dtnh_it_is_both_oracles(make):
    rule = dtnh_oracle.rule(oracle.penalty(3.0, [STAGES]), lam=0.5)
    follow("dtnh(fsp(lam=3), lam=0.5)", make, {"rule": rule, "taps": STAGES})


class Strided(nn.Module):
    """Two stages of different size."""

    def __init__(self):
        super().__init__()
        self.stage1, self.stage2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3, stride=2, padding=1)
        self.head = nn.Linear(5, 4)

    def forward(self, x):
        return self.head(torch.tanh(self.stage2(torch.tanh(self.stage1(x)))).mean((2, 3)))


def test_maps_of_different_size_are_pooled_as_the_oracles():
    follow("fsp(lam=0.3, layers='stage1:stage2')", strided, {"penalty": oracle.penalty(0.3, [STAGES]), "taps": STAGES})


def strided():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Strided().double()


def test_closed_form_of_the_matrix():
    first = torch.tensor([[[[1.0, 2.0]], [[0.0, 3.0]]]])
    second = torch.tensor([[[[4.0, 5.0]]]])
    assert flow(first, second).tolist() == [[[(1 * 4 + 2 * 5) / 2], [(3 * 5) / 2]]]


def test_half_precision_does_not_overflow():
    big = torch.full((1, 2, 8, 8), 300.0, dtype=torch.float16)
    with torch.autocast("cpu", torch.float16):
        assert flow(big, big).tolist() == [[[90000.0] * 2] * 2]


@pytest.mark.parametrize("make", [token_net, frozen_conv_net])
def test_nothing_at_the_start(make):
    loop, plain = Loop("fsp(lam=10)", make), Loop("", make)
    x, y = loop.batches[0]
    assert loop.loss(x, y).item() == pytest.approx(plain.loss(x, y).item(), rel=1e-12)
    assert_close(loop.gradients(x, y), plain.gradients(x, y), rtol=1e-10)


def test_describe_names_the_flows():
    (line,) = Loop("fsp(lam=0.2)", conv_net).methods.describe()
    assert line == "fsp: 0.2·‖G − G⁰‖² of the flow from stage1 to stage2; mean over the batch, sum over the matrix"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fsp(layers='stage1,stage2')", "expected pairs of modules such as 'layer1:layer2', found 'stage1,stage2'"),
        ("fsp(layers='stage1:stage3')", "the network has no module 'stage3'; did you mean 'stage"),
        ("fsp(lam=-1)", "lam must be finite and >= 0, got -1"),
    ],
)
def test_what_makes_no_flow_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        Loop(text, conv_net)


def test_one_stage_has_no_flow():
    net = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(4, 4)), nn.Linear(4, 2))
    with pytest.raises(UsageError, match="a flow needs two layers, the network has one stage"):
        holdfast.compose("fsp").prepare(net, "2")


def test_golden_trajectory():
    follows_golden("fsp(lam=0.7)")
