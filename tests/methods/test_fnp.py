"""FNP against its formula, its oracle in both forms, and PtR with targets 0."""

import math

import pytest
import torch

import holdfast
from holdfast.core.errors import ConflictError
from methods import contract, micro
from methods.loop import ADDITIVE_NETWORKS, NETWORKS, Loop, assert_equal
from methods.oracles import follow
from methods.trajectories import follows_golden
from reference import fnp as oracle
from reference.networks import HEAD
from reference.training import run_forward


@contract.every_check
@pytest.mark.parametrize("text", ["fnp(lam=0.3)", "fnp(R=3)"])
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize(("text", "lam"), [("fnp(lam=0.7)", 0.7), ("fnp@hariharan2017", 0.1), ("fnp", 0.001)])
def test_trajectory_is_the_oracles(make, text, lam):
    follow(text, make, {"penalty": oracle.penalty(lam)})


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("R", [0.5, 3.0])
def test_balanced_trajectory_is_the_oracles(make, R):
    follow(f"fnp(R={R})", make, {"rule": oracle.balanced(R)})


@pytest.mark.parametrize("make", NETWORKS)
def test_balanced_is_ptr_with_targets_zero(make):
    zero = Loop("ptr(R=2, m=0, T=inf, loss='l2')", make).train()
    assert_equal(Loop("fnp(R=2)", make).train().weights(), zero.weights())


@pytest.mark.parametrize("make", NETWORKS)
def test_value_is_the_ports(make):
    """Σf²/(2B) at the classifier's input."""
    loop = Loop("fnp@hariharan2017", make)
    x, y = loop.batches[0]
    rep = run_forward(loop.model, HEAD, x).rep.detach()
    loop.methods.step(None)
    loop.loss(x, y)
    assert loop.methods.log["fnp.penalty"].item() == pytest.approx(0.1 * rep.pow(2).sum().item() / 16, rel=1e-12)


@pytest.mark.parametrize("make", NETWORKS)
def test_the_head_has_no_part_in_it(make):
    x, y = Loop("", make).batches[0]
    plain, with_penalty = Loop("", make).gradients(x, y), Loop("fnp(lam=1)", make).gradients(x, y)
    for name in plain:
        assert torch.equal(plain[name], with_penalty[name]) == name.startswith(HEAD)


def test_the_stronger_the_smaller_the_features():
    loops = [Loop(text).train(60) for text in ("", "fnp(lam=0.3)", "fnp(lam=1)", "fnp(lam=5)")]
    norms = [run_forward(each.model, HEAD, each.batches[0][0]).rep.norm(dim=1).mean().item() for each in loops]
    assert norms == sorted(norms, reverse=True)
    assert norms[3] < 0.2 * norms[0]


@pytest.mark.parametrize("make", NETWORKS)
def test_infinite_ratio_is_plain_training(make):
    assert_equal(Loop("fnp(R=inf)", make).train().weights(), Loop("", make).train().weights())


@pytest.mark.parametrize("make", NETWORKS)
def test_balanced_accumulation_takes_the_ratio_of_each_micro_batch(make):
    micro.is_formed_in_each_micro_batch("fnp(R=3)", make)


@pytest.mark.parametrize("make", ADDITIVE_NETWORKS)
@pytest.mark.parametrize("text", ["fnp(lam=0.3)", "fnp(R=3)"])
def test_two_ranks_with_micro_batches_equal_one_process(make, text):
    """Micro-batch by micro-batch: the ratio is formed over both ranks, once for each."""
    micro.is_formed_over_both_ranks(text, make)


def test_balanced_form_cannot_stand_inside_dtnh():
    with pytest.raises(ConflictError, match=r"projects the gradient of penalties, and fnp\(R=3\) is none"):
        holdfast.compose("dtnh(fnp(R=3))")
    assert math.isfinite(Loop("dtnh(fnp(lam=0.3))").train(2).losses[-1])


def test_golden_trajectory():
    follows_golden("fnp(lam=0.3)")
