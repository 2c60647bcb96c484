"""Freezing against the oracle, which layers it means, and that they stand still whatever the host does."""

import copy

import pytest
import torch
from torch import nn

import holdfast
from holdfast.core.errors import ModelError, UsageError
from methods import contract
from methods.loop import NETWORKS, Loop, assert_close, assert_equal, conv_net, token_net
from methods.oracles import OPTIONS, batches
from methods.trajectories import follows_golden
from reference import freeze as oracle
from reference.networks import HEAD
from reference.training import train


@contract.every_check
@pytest.mark.parametrize("text", ["freeze", "freeze(until='stage2')"])
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


def frozen(make, modules, bn="eval", **options):
    """The oracle's run, with every parameter of the network in its weights."""
    return train(oracle.frozen(make(), modules, bn), HEAD, batches(), steps=8, **OPTIONS, **options)


FRONTS = [
    (conv_net, "layers=1", ["stage1"]),
    (conv_net, "layers=2", ["stage1", "stage2"]),
    (conv_net, "until='stage1'", ["stage1"]),
    (conv_net, "until='stage2.0'", ["stage1", "stage2.0"]),
    (token_net, "until='stage1.1'", ["embed", "stage1"]),
]


@pytest.mark.parametrize(("make", "options", "modules"), FRONTS)
@pytest.mark.parametrize("bn", ["frozen", "train"])
def test_trajectory_is_the_oracles(make, options, modules, bn):
    def start():
        model = make()
        if make is token_net:  # what belongs to no module is frozen with what follows it
            model.position.requires_grad_(False)
        return model

    wanted = frozen(start, modules, bn={"frozen": "eval"}.get(bn, bn), weight_decay=0.3)
    loop = follow_with_decay(f"freeze({options}, bn='{bn}')", make, wanted)
    still = {n for n, v in loop.weights().items() if torch.equal(v, make().state_dict()[n])}
    named = {n for n in make().state_dict() if any(n.startswith(f"{m}.") for m in modules) or n == "position"}
    assert still == {n for n in named if bn == "frozen" or ("running" not in n and "num_batches" not in n)}


def follow_with_decay(text, make, wanted):
    loop = Loop(text, make)
    for group in loop.optimizer.param_groups:
        group["weight_decay"] = 0.3
    for t in range(8):
        loop.train(1)
        assert_close(loop.weights(), wanted.weights[t + 1] | wanted.buffers[t + 1], rtol=1e-9)
    return loop


@pytest.mark.parametrize("make", NETWORKS)
def test_beside_a_penalty_on_all_parameters_is_the_oracles(make):
    """Ω reaches what trains alone: l2 pulls nothing in frozen layers."""

    def penalty(step):
        names = [n for n, p in step.w.items() if p.requires_grad]
        return 0.5 * 0.4 * sum(step.w[n].square().sum() for n in names)

    def start():
        model = make()
        if make is token_net:
            model.position.requires_grad_(False)
        return model

    modules = ["stage1"] if make is conv_net else ["embed"]
    wanted = frozen(start, modules, penalty=penalty)
    loop = Loop("freeze+l2(alpha=0.4, beta=0.4)", make)
    for t in range(8):
        loop.train(1)
        assert_close(loop.weights(), wanted.weights[t + 1] | wanted.buffers[t + 1], rtol=1e-9)


@pytest.mark.parametrize("make", NETWORKS)
def test_frozen_layers_stand_still_whatever_the_host_does(make):
    """A body that was meant to be frozen and is not, and batch-norm that moves in it, are silent failures of ports."""
    loop = Loop("freeze(until='stage2')+rifle(periods=2)", make)
    start = copy.deepcopy(loop.model.state_dict())
    for t in range(8):
        loop.model.train()
        loop.accumulate([loop.batches[t % 3]])
        sum(p.square().sum() for p in loop.model.parameters()).backward()  # a term of the user's own
        loop.finish()
        loop.model.eval()
    moved = {n for n, v in loop.weights().items() if not torch.equal(v, start[n])}
    assert moved == {"head.weight", "head.bias"}


def test_without_freezing_the_same_run_moves_everything():
    loop, start = Loop("", conv_net), conv_net().state_dict()
    loop.train()
    assert not any(torch.equal(v, start[n]) for n, v in loop.weights().items())


def test_frozen_parameters_are_left_out_of_the_groups_and_the_graph():
    loop = Loop("freeze", conv_net)
    grouped = {id(p) for group in loop.optimizer.param_groups for p in group["params"]}
    stage1 = set(map(id, loop.model.stage1.parameters()))
    assert grouped == set(map(id, loop.model.parameters())) - stage1
    seen = []
    loop.model.stage2.register_forward_pre_hook(lambda _, args: seen.append(args[0].requires_grad))
    loop.train(2)
    assert seen == [False, False]
    assert not stage1 & set(map(id, loop.optimizer.state))


def test_moving_statistics_are_asked_for():
    kept, moving = (Loop(f"freeze(bn='{bn}')", conv_net).train().model.stage1[1] for bn in ("frozen", "train"))
    assert torch.equal(kept.running_mean, conv_net().stage1[1].running_mean)
    assert not torch.equal(moving.running_mean, conv_net().stage1[1].running_mean)
    assert torch.equal(moving.weight, conv_net().stage1[1].weight)


def test_dropout_in_frozen_layers_stays_on():
    def with_dropout():
        model = conv_net()
        model.stage1.append(nn.Dropout(0.5))
        return model

    loop, zeros = Loop("freeze", with_dropout), []
    loop.model.stage1.register_forward_hook(lambda _, __, out: zeros.append(bool((out == 0).any())))
    loop.train(2)
    assert zeros == [True, True]


@pytest.mark.parametrize("make", NETWORKS)
def test_no_layer_is_plain_training(make):
    assert_equal(Loop("freeze(layers=0)", make).train().weights(), Loop("", make).train().weights())


def test_what_the_user_froze_stays_frozen_after_removal():
    def with_frozen_head():
        model = conv_net()
        model.stage1[0].requires_grad_(False)
        return model

    loop = Loop("freeze", with_frozen_head).train(2)
    loop.methods.remove()
    assert [p.requires_grad for p in loop.model.stage1.parameters()] == [False, False, True, True]


def test_the_description_names_what_is_frozen():
    (line,) = Loop("freeze", conv_net).methods.describe()
    assert line == (
        "freeze: frozen up to and with stage1: 4 tensors, 150 numbers; statistics of 1 batch-norm layers kept; "
        "5 tensors train"
    )
    (line,) = Loop("freeze(layers=0)", conv_net).methods.describe()
    assert line == "freeze: nothing is frozen"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("freeze(layers=3)", r"freeze\(layers=3\): the network has 2 layers before its head: stage1, stage2"),
        ("freeze(until='stage3')", r"the network has no module 'stage3'; did you mean 'stage2'\?"),
        ("freeze(until='head')", r"'head' holds the head, which stays awake: name a module before it"),
        ("freeze(layers=2, until='stage1')", "give layers or until, not both"),
        ("freeze(layers=-1)", "freeze: layers must be finite and >= 0"),
        ("freeze(bn='eval')", "freeze: bn must be one of 'frozen', 'train'"),
    ],
)
def test_what_cannot_be_frozen_is_told(text, message):
    with pytest.raises(UsageError, match=message):
        Loop(text, conv_net)


def test_a_network_whose_layers_cannot_be_told_is_frozen_by_name():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = (nn.Conv2d(3, 4, 3) for _ in range(3))
            self.head = nn.Linear(4, 2)

        def forward(self, x):
            return self.head((self.a(x) + self.b(x) + self.c(x)).mean((2, 3)))

    with pytest.raises(ModelError, match=r"freeze: the stages of Branches cannot be told.*until='\.\.\.'"):
        holdfast.compose("freeze").prepare(Branches())
    model = Branches()
    holdfast.compose("freeze(until='b')").prepare(model)
    assert [m.weight.requires_grad for m in (model.a, model.b, model.c)] == [False, False, True]


def test_golden_trajectory():
    follows_golden("freeze")
