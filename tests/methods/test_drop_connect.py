"""DropConnect on the head against its formula and the oracle, per sample and per batch."""

import pytest
import torch

import holdfast
from holdfast.core.errors import UsageError
from methods import contract
from methods.loop import NETWORKS, Loop
from methods.oracles import OPTIONS, batches, coins, follow
from methods.trajectories import follows_golden
from reference import drop_connect as oracle
from reference.networks import HEAD
from reference.training import train

TEXTS = ["drop_connect(p=0.3)", "drop_connect(p=0.3, mask='batch')"]


@contract.every_check
@pytest.mark.parametrize("text", TEXTS)
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


def masks_of(make, p, mask, key="drop_connect"):
    shape = tuple(make().head.weight.shape)
    if mask == "sample":
        return lambda n: coins((8, *shape), 1 - p, key, HEAD, n)
    return lambda n: coins(shape, 1 - p, key, HEAD, n, "")


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("mask", ["sample", "batch"])
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_trajectory_is_the_oracles(make, mask, p):
    noisy = oracle.prepared(make(), HEAD, masks_of(make, p, mask), p)
    wanted = train(noisy, HEAD, batches(), steps=8, **OPTIONS)
    follow(f"drop_connect(p={p}, mask='{mask}')", make, wanted)


@pytest.mark.parametrize("mask", ["sample", "batch"])
def test_logits_are_the_formulas(mask):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, 2)).double()
    holdfast.compose(f"drop_connect(p=0.25, mask='{mask}')").prepare(net, "1")
    rep = torch.randn(4, 3).double()
    shape = (4, 2, 3) if mask == "sample" else (2, 3)
    M = coins(shape, 0.75, "drop_connect", "1", 0, *([""] if mask == "batch" else [])).expand(4, 2, 3)
    W, b = net[1].weight, net[1].bias
    z = [[sum(M[i, c, d] * W[c, d] * rep[i, d] for d in range(3)) / 0.75 + b[c] for c in range(2)] for i in range(4)]
    torch.testing.assert_close(net(rep), torch.stack([torch.stack(row) for row in z]))


@pytest.mark.parametrize("mask", ["sample", "batch"])
@pytest.mark.parametrize("p", [0.1, 0.2, 0.5])
def test_p_is_the_probability_to_drop_a_weight(p, mask):
    """With one feature and weights of 1 a logit is 0 where its weight is dropped, and 1/(1 - p) elsewhere."""
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1, 20_000, bias=False))
    torch.nn.init.ones_(net[1].weight)
    holdfast.compose(f"drop_connect(p={p}, mask='{mask}')").prepare(net, "1")
    z = net(torch.ones(4, 1))
    assert (z == 0).double().mean().item() == pytest.approx(p, abs=0.02)
    assert z[z != 0].mean().item() == pytest.approx(1 / (1 - p), rel=1e-6)
    assert bool((z[0] == z[1]).all()) == (mask == "batch")


def test_all_dropped_leaves_the_bias():
    loop = Loop("drop_connect(p=1)")
    assert torch.equal(loop.model(loop.batches[0][0]), loop.model.head.bias.expand(8, -1))


def test_a_head_without_bias_and_in_half_precision():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, 2, bias=False))
    holdfast.compose("drop_connect(p=0.25)").prepare(net, "1")
    with torch.autocast("cpu", torch.bfloat16):
        assert net(torch.ones(4, 3)).dtype == torch.bfloat16


@pytest.mark.parametrize("text", ["dropout(p=1)+drop_connect(p=0.5)", "drop_connect(p=0.5)+dropout(p=1)"])
def test_features_behind_a_dropout_are_the_dropped_ones(text):
    """A connection from a dropped feature carries nothing: with every feature dropped the bias is left."""
    loop = Loop(text)
    assert torch.equal(loop.model(loop.batches[0][0]), loop.model.head.bias.expand(8, -1))


def test_says_where_it_acts():
    (line,) = Loop("drop_connect(p=0.3)").methods.describe()
    assert line == (
        "drop_connect: each weight of 'head' dropped with probability 0.3 in training, anew for each sample; "
        "its bias is kept"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("drop_connect(p=2)", "p must be finite and >= 0 and <= 1, got 2"),
        ("drop_connect(mask='row')", "mask must be one of 'sample', 'batch', got 'row'"),
    ],
)
def test_values_out_of_range_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        holdfast.compose(text)


def test_golden_trajectory():
    follows_golden("drop_connect(p=0.3)")
