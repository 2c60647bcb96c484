"""WiSE-FT against its formula and the oracle, its limits, and the factor chosen on validation."""

import copy
import math

import pytest
import torch

import holdfast
from holdfast.core.errors import StartingPointError, UsageError
from methods import contract
from methods.loop import NETWORKS, STEPS, Loop, assert_close, assert_equal, conv_net, token_net
from methods.oracles import OPTIONS, batches, follow
from methods.trajectories import follows_golden
from reference import l2_sp as l2_sp_oracle
from reference import wise_ft as oracle
from reference.networks import HEAD
from reference.training import shared_parameters, train


@contract.every_check
@pytest.mark.parametrize("text", ["wise_ft", "wise_ft(factor=0)"])
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


def ended(make, factor, **options):
    """The oracle's run, interpolated after its last step."""
    run = train(make(), HEAD, batches(), steps=STEPS, **OPTIONS, **options)
    names = [*shared_parameters(make(), HEAD), *dict(make().named_buffers())]
    start, end = run.weights[0] | run.buffers[0], run.weights[-1] | run.buffers[-1]
    mixed = oracle.interpolate(end, start, names, factor)
    run.weights[-1] = {name: mixed[name] for name in run.weights[0]}
    run.buffers[-1] = {name: mixed[name] for name in run.buffers[0]}
    return run


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("factor", [0, 0.3, 0.5, 1])
def test_trajectory_is_the_oracles(make, factor):
    follow(f"wise_ft(factor={factor})", make, ended(make, factor))


@pytest.mark.parametrize("make", NETWORKS)
def test_beside_a_penalty_is_the_oracles(make):
    wanted = ended(make, 0.5, penalty=l2_sp_oracle.penalty(0.5, 0.2))
    follow("wise_ft+l2_sp(alpha=0.5, beta=0.2)", make, wanted)


def test_closed_form_on_one_number():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        net[1].weight.fill_(3.0)
    methods = holdfast.compose("wise_ft(factor=0.25)")
    methods.prepare(net, "2")
    with torch.no_grad():
        net[1].weight.fill_(7.0)
        net[2].weight.fill_(5.0)
    assert methods.on_fit_end() == {"wise_ft.factor": 0.25}
    assert net[1].weight.item() == 4.0
    assert net[2].weight.item() == 5.0


@pytest.mark.parametrize("make", NETWORKS)
def test_ends_of_the_way_are_exact(make):
    tuned = Loop("", make).train().weights()
    assert_equal(Loop("wise_ft(factor=1)", make).train().weights(), tuned)
    back, start = Loop("wise_ft(factor=0)", make).train().weights(), make().state_dict()
    for name, value in back.items():
        kept = "head" in name or not value.is_floating_point()
        assert torch.equal(value, tuned[name] if kept else start[name]), name


def test_training_is_plain_until_its_end():
    plain, loop = Loop("", conv_net).train(STEPS - 1), Loop("wise_ft", conv_net).train(STEPS - 1)
    assert_equal(loop.weights(), plain.weights())
    assert loop.losses == plain.losses


def test_what_is_frozen_does_not_move():
    loop = Loop("wise_ft(factor=0.3)+freeze(until='stage1')", conv_net).train()
    start = conv_net().state_dict()
    assert all(torch.equal(v, start[n]) for n, v in loop.weights().items() if n.startswith("stage1"))


def test_a_copy_is_interpolated_in_place_of_the_network():
    loop = Loop("wise_ft", conv_net).train(3)
    twin, before = copy.deepcopy(loop.model), loop.weights()
    loop.methods.on_fit_end(twin)
    assert_equal(loop.weights(), before)
    half = oracle.interpolate(before, conv_net().state_dict(), [n for n in before if "head" not in n], 0.5)
    assert_close(twin.state_dict(), half, rtol=1e-12)
    with pytest.raises(UsageError, match=r"wise_ft: no '.*' in the network: pass the one that was prepared"):
        loop.methods.on_fit_end(torch.nn.Linear(2, 2))


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize(("wish", "best"), [(0.38, 0.4), (1.0, 1.0), (0.0, 0.0)])
def test_the_factor_of_the_highest_score_is_taken(make, wish, best):
    """The score sees the network at each factor."""
    model, tuned, where = make(), Loop("", make).train().weights(), []
    start = {n: v.clone() for n, v in model.state_dict().items()}

    def score():
        name = "stage1.1.weight"
        gone, whole = (each[name] - start[name] for each in (model.state_dict(), tuned))
        where.append((gone.norm() / whole.norm()).item())
        return -abs(where[-1] - wish)

    loop = Loop("wise_ft(choose=true)", lambda: model, score=score).train()
    assert where == pytest.approx([k / 10 for k in range(11)], abs=1e-9)
    assert best == oracle.choose([k / 10 for k in range(11)], lambda a: -abs(a - wish))
    assert_close(loop.weights(), Loop(f"wise_ft(factor={best})", make).train().weights(), rtol=1e-12)


@pytest.mark.parametrize("equal", [1.0, math.nan])
def test_ties_and_scores_that_are_no_number_leave_the_least_change(equal):
    loop = Loop("wise_ft(choose=true)", score=lambda: equal).train()
    assert_equal(loop.weights(), Loop("").train().weights())


def test_the_choice_is_reported():
    methods = Loop("wise_ft(choose=true)", score=lambda: 0.25).methods
    assert methods.on_fit_end() == {"wise_ft.factor": 1.0, "wise_ft.score": 0.25}


def test_a_choice_without_a_score_is_refused_before_training():
    with pytest.raises(
        UsageError, match=r"wise_ft\(choose=true\) chooses on validation .* prepare\(model, score=function"
    ):
        Loop("wise_ft(choose=true)")


def test_the_starting_point_outlives_a_resumed_run():
    """The anchor lost on resume: restored weights are never taken for w⁰, nor restored statistics."""
    whole = Loop("wise_ft", conv_net).train(3)
    file = whole.save()
    whole.train(STEPS - 3)
    assert_equal(
        Loop.resumed(file, "wise_ft", conv_net, weights_first=True).train(STEPS - 3).weights(), whole.weights()
    )
    saved = Loop("wise_ft").methods.state_dict()
    del saved["start"]["embed.weight"]
    with pytest.raises(StartingPointError, match=r"nothing for embed\.weight"):
        Loop("wise_ft").methods.load_state_dict(saved)


def test_the_description_says_what_moves_and_how_far():
    (line,) = Loop("wise_ft(factor=0.3)", conv_net).methods.describe()
    assert line == "wise_ft: after training 7 tensors and 4 buffers of the body go to (1 − a)·w⁰ + a·w, a = 0.3"
    (line,) = Loop("wise_ft(choose=true)", token_net, score=lambda: 0.0).methods.describe()
    assert line.endswith("a = the best on validation of 0, 0.1, …, 1")


@pytest.mark.parametrize("value", ["factor=-0.1", "factor=1.1", "choose=2"])
def test_values_out_of_range_are_refused(value):
    with pytest.raises(UsageError, match=f"wise_ft: {value.partition('=')[0]} must be"):
        holdfast.compose(f"wise_ft({value})")


def test_golden_trajectory():
    follows_golden("wise_ft")
