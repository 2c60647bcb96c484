"""LP-FT against the oracle, its two phases, its limit cases, and what sleeps beside other methods."""

import pytest
import torch
from torch import nn

import holdfast
from holdfast.core.errors import UsageError
from methods import contract, ranks
from methods.loop import NETWORKS, Loop, assert_close, assert_equal, conv_net, frozen_conv_net, token_net
from methods.oracles import OPTIONS, batches, follow, ptr_targets
from methods.trajectories import follows_golden
from reference import dtnh as dtnh_oracle
from reference import l2 as l2_oracle
from reference import l2_sp as l2_sp_oracle
from reference import lp_ft as oracle
from reference import ptr as ptr_oracle
from reference.networks import HEAD


@contract.every_check
@pytest.mark.parametrize("text", ["lp_ft", "lp_ft(probe=0.25)"])
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


def both_phases(make, probe_steps, **options):
    return oracle.lp_ft(make(), HEAD, batches(), probe_steps=probe_steps, steps=8, **OPTIONS, **options)


@pytest.mark.parametrize("make", [*NETWORKS, frozen_conv_net])
@pytest.mark.parametrize(("share", "steps"), [(0, 0), (0.25, 2), (0.5, 4), (1, 8)])
def test_trajectory_is_the_oracles(make, share, steps):
    loop = follow(f"lp_ft(probe={share})", make, both_phases(make, steps))
    assert loop.methods.log["lp_ft.probing"] == (share == 1)  # of the last step


@pytest.mark.parametrize("make", NETWORKS)
def test_decay_reaches_the_body_when_it_wakes(make):
    wanted = both_phases(make, 4, weight_decay=0.3)
    loop = Loop("lp_ft", make)
    for group in loop.optimizer.param_groups:
        group["weight_decay"] = 0.3
    for t in range(8):
        loop.train(1)
        assert_close(loop.weights(), wanted.weights[t + 1] | wanted.buffers[t + 1], rtol=1e-9)


@pytest.mark.parametrize("make", NETWORKS)
def test_beside_a_penalty_is_the_oracles(make):
    wanted = both_phases(make, 4, penalty=l2_sp_oracle.penalty(0.5, 0.2))
    follow("lp_ft+l2_sp(alpha=0.5, beta=0.2)", make, wanted)


@pytest.mark.parametrize("make", NETWORKS)
def test_beside_ptr_is_the_oracles(make):
    rule = ptr_oracle.rule(ptr_targets(1.0), R=3)
    follow("lp_ft+ptr(R=3, m=1, T=inf)", make, both_phases(make, 4, rule=rule))


def of_what_is_awake(rule, probe_steps):
    """The rule on the parameters that train: its inner products are of the head alone while the body sleeps."""

    def at(step, J):
        for name, p in step.w.items():
            p.requires_grad_(step.t >= probe_steps or name in step.head)
        found = rule(step, J)
        step.model.requires_grad_(True)
        return found

    return at


@pytest.mark.parametrize("make", NETWORKS)
def test_beside_dtnh_only_what_is_awake_is_projected(make):
    rule = of_what_is_awake(dtnh_oracle.rule(l2_oracle.penalty(0.5, 2.0)), 4)
    follow("lp_ft+dtnh(l2(alpha=0.5, beta=2))", make, both_phases(make, 4, rule=rule))


@pytest.mark.parametrize("text", ["rifle(periods=4)+lp_ft", "lp_ft+rifle(periods=4)"])
def test_beside_rifle_the_head_is_drawn_anew_in_both_phases(text):
    loop, drawn = Loop(text), []
    for t in range(8):
        loop.train(1)
        if bool((loop.model.head.bias == 0).all()):
            drawn.append(t + 1)
        assert torch.equal(loop.model.embed.weight, token_net().embed.weight) == (t < 4)
    assert drawn == [2, 4, 6]


@pytest.mark.parametrize("make", NETWORKS)
def test_the_body_stands_still_whatever_the_host_does_and_then_moves(make):
    """A body that was meant to sleep and does not, and batch-norm that moves in it, are silent failures."""
    loop, start = Loop("lp_ft+l2(alpha=3, beta=0)", make), make().state_dict()
    for t in range(8):
        loop.model.train()  # as hosts do in every epoch
        stray = sum(p.square().sum() for p in loop.model.parameters())  # a term of the user's own
        loop.accumulate([loop.batches[t % 3]])
        if t != 4:
            (0.1 * stray).backward()
        loop.finish()
        loop.model.eval()
        body = {n: v for n, v in loop.weights().items() if not n.startswith("head")}
        assert all(torch.equal(v, start[n]) for n, v in body.items()) == (t < 4)
        assert any(torch.equal(v, start[n]) for n, v in body.items()) == (t < 4)
        assert (loop.model.stage1[1].weight in loop.optimizer.state) == (t >= 4)


def test_no_gradient_is_computed_for_the_body_while_it_sleeps():
    loop = Loop("lp_ft")
    seen = []
    loop.model.head.register_forward_pre_hook(lambda _, args: seen.append(args[0].requires_grad))
    loop.train()
    assert seen == [False] * 4 + [True] * 4


def test_every_parameter_is_in_the_optimiser_from_the_start():
    loop = Loop("lp_ft")
    grouped = {id(p) for group in loop.optimizer.param_groups for p in group["params"]}
    assert grouped == set(map(id, loop.model.parameters()))


def test_what_the_user_froze_stays_frozen():
    def with_frozen_parts():
        model = frozen_conv_net()
        model.stage1.requires_grad_(False)
        return model

    loop = Loop("lp_ft", with_frozen_parts)
    before = loop.weights()
    loop.train()
    assert all(torch.equal(v, before[n]) for n, v in loop.weights().items() if n.startswith("stage1"))
    assert not torch.equal(loop.weights()["stage2.0.weight"], before["stage2.0.weight"])
    assert not loop.model.stage2[1].training


def test_dropout_in_the_body_is_off_while_it_sleeps():
    def with_dropout():
        model = conv_net()
        model.stage1.append(nn.Dropout(0.5))
        return model

    loop, outputs = Loop("lp_ft", with_dropout), []
    loop.model.stage1.register_forward_hook(lambda _, __, out: outputs.append(bool((out == 0).any())))
    loop.train()
    assert outputs == [False] * 4 + [True] * 4


@pytest.mark.parametrize("make", [frozen_conv_net, token_net])
@pytest.mark.parametrize("micro", [1, 2])
def test_two_ranks_equal_one_in_both_phases(make, micro):
    alone = Loop("lp_ft", make).train().weights()
    for weights in ranks.train_on_two(holdfast.LPFT(), make, steps=8, micro=micro):
        assert_close(weights, alone, rtol=1e-9)


def test_removal_wakes_the_body():
    loop = Loop("lp_ft", conv_net).train(2)
    loop.methods.remove()
    assert all(p.requires_grad for p in loop.model.parameters())
    assert all(m.training for m in loop.model.modules())


@pytest.mark.parametrize("make", NETWORKS)
def test_no_probe_is_plain_training(make):
    assert_equal(Loop("lp_ft(probe=0)", make, total_steps=None).train().weights(), Loop("", make).train().weights())


def test_needs_total_steps():
    with pytest.raises(UsageError, match=r"lp_ft needs total_steps.*total_steps=N"):
        Loop("lp_ft", total_steps=None)


@pytest.mark.parametrize("value", ["-0.1", "1.1", "inf", "'half'"])
def test_values_out_of_range_are_refused(value):
    with pytest.raises(UsageError, match="lp_ft: probe must be"):
        holdfast.compose(f"lp_ft(probe={value})")


def test_the_description_counts_the_phases():
    (line,) = Loop("lp_ft(probe=0.25)").methods.describe()
    assert "the head alone for the first 2 steps, in which the body of 11 tensors" in line


def test_golden_trajectory():
    follows_golden("lp_ft")
