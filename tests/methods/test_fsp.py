"""FSP against its formula, limit cases, the oracle, and inside DTNH."""

import pytest
import torch
from torch import nn

import holdfast
from holdfast.core.errors import UsageError
from holdfast.functional.maps import flow_distance
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


def test_closed_form_of_the_distance():
    """Two channels with one, over two positions: G = (7, 7.5) against (0, 0), and against (7, 6.5)."""
    first = torch.tensor([[[[1.0, 2.0]], [[0.0, 3.0]]]])
    second = torch.tensor([[[[4.0, 5.0]]]])
    G = [(1 * 4 + 2 * 5) / 2, (3 * 5) / 2]
    nothing = (first, torch.zeros_like(second))
    assert flow_distance((first, second), nothing).item() == G[0] ** 2 + G[1] ** 2
    other = torch.tensor([[[[1.0, 2.0]], [[0.5, 2.2]]]])
    difference = G[1] - (0.5 * 4 + 2.2 * 5) / 2
    assert flow_distance((first, second), (other, second)).item() == pytest.approx(difference**2)


@pytest.mark.parametrize(
    "shapes", [((2, 3, 6, 6), (2, 4, 6, 6)), ((2, 9, 2, 2), (2, 7, 2, 2)), ((3, 20, 4), (3, 8, 4))]
)
@pytest.mark.parametrize("near", [1.0, 1e-6])
def test_both_ways_to_the_distance_are_the_oracles(shapes, near):
    """With the matrices, and without them where channels outnumber positions; also where both networks nearly agree."""
    gen = torch.Generator().manual_seed(2)
    student = [torch.randn(shape, generator=gen, dtype=torch.float64, requires_grad=True) for shape in shapes]
    teacher = [z.detach() + near * torch.randn(z.shape, generator=gen, dtype=torch.float64) for z in student]
    maps = [[z if z.ndim == 4 else z.transpose(1, 2) for z in each] for each in (student, teacher)]
    wanted = sum(
        (oracle.gram(maps[0][0][i], maps[0][1][i]) - oracle.gram(maps[1][0][i], maps[1][1][i])).square().sum()
        for i in range(shapes[0][0])
    )
    found = flow_distance(tuple(student), tuple(teacher))
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=0)
    pairs = zip(torch.autograd.grad(found, student), torch.autograd.grad(wanted, student), strict=True)
    for mine, theirs in pairs:
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-9 * near)


@pytest.mark.parametrize("sizes", [(8, 4), (7, 3)])
def test_the_larger_maps_are_pooled(sizes):
    large, small = (torch.randn(1, 2, side, side, dtype=torch.float64) for side in sizes)
    pooled = nn.functional.adaptive_max_pool2d(large, sizes[1])
    zeros = (torch.zeros_like(large), small)
    torch.testing.assert_close(
        flow_distance((large, small), zeros), flow_distance((pooled, small), (torch.zeros_like(pooled), small))
    )


def test_half_precision_does_not_overflow():
    big = torch.full((1, 2, 8, 8), 300.0, dtype=torch.float16)
    with torch.autocast("cpu", torch.float16):
        assert flow_distance((big, big), (torch.zeros_like(big), big)).item() == pytest.approx(4 * 90000.0**2)


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


def test_vectors_have_no_flow():
    with pytest.raises(UsageError, match="head gives vectors, without positions; name a layer before pooling"):
        Loop("fsp(layers='stage1.0:head')", conv_net).train(1)


def test_tokens_of_different_number_have_no_flow():
    class Uneven(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.head = nn.Linear(6, 4), nn.Linear(4, 5), nn.Linear(5, 4)

        def forward(self, x):
            return self.head(self.second(self.first(x.flatten(1, 2))[:, 1:]).mean(1))

    with pytest.raises(UsageError, match="the same number at both ends of a flow; here first 18 and second 17"):
        Loop("fsp(layers='first:second')", lambda: Uneven().double()).train(1)


def test_golden_trajectory():
    follows_golden("fsp(lam=0.7)")
