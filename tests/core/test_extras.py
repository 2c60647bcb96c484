"""Modules that methods add: they train, are saved, follow the device; and the source head that some of them are."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

import holdfast
from holdfast.core.errors import UsageError
from holdfast.core.method import Method, State, Sum
from methods.loop import HEAD_LR, LR, NETWORKS, Loop, assert_equal
from reference.networks import HEAD, source_head, token_net


@dataclass
class Kept(State):
    """A second head that trains."""

    second: nn.Module


@dataclass(frozen=True)
class SecondHead(Method):
    """Penalises what a copy of the source head answers."""

    stem: ClassVar[str] = "second_head"
    taps: ClassVar[tuple[str, ...]] = ("rep",)

    def bind(self, model, ctx):
        return Kept(ctx.source_head(self))

    def penalty(self, step, state):
        return state.second(step.features("rep")).square().mean()


def dtnh(method):
    return holdfast.DTNH(inner=method)


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("around", [lambda m: m, dtnh], ids=["bare", "dtnh"])
def test_a_source_head_trains_at_the_bodys_rate_and_decays_by_kind(make, around):
    loop = Loop(Sum((around(SecondHead()),)), make, weight_decay=0.1)
    second = loop.methods._extras.refs()
    assert [r.name.rpartition(".")[2] for r in second] == ["weight", "bias"]
    groups = {group["name"]: group for group in loop.optimizer.param_groups}
    assert groups["source"]["params"][0] is second[0].param
    assert groups["source_no_decay"]["params"][0] is second[1].param
    assert (groups["source"]["lr"], groups["source"]["weight_decay"]) == (LR, 0.1)
    assert groups["source_no_decay"]["weight_decay"] == 0
    assert not any(name.startswith("extra") for name in groups)
    before = [r.param.detach().clone() for r in second]
    loop.train(2)
    assert all(not torch.equal(r.param, old) for r, old in zip(second, before, strict=True))


def test_a_new_module_trains_at_the_heads_rate_beside_a_source_head():
    @dataclass(frozen=True)
    class Projected(SecondHead):
        stem: ClassVar[str] = "projected"

        def bind(self, model, ctx):
            return Kept(nn.Linear(ctx.located.in_features, 2).double())

    loop = Loop(Sum((SecondHead(), Projected())), weight_decay=0.1)
    rates = {group["name"]: group["lr"] for group in loop.optimizer.param_groups}
    assert list(rates) == ["body", "body_no_decay", "head", "head_no_decay", *(
        f"{part}{end}" for part in ("source", "extra") for end in ("", "_no_decay")
    )]  # fmt: skip
    assert (rates["source"], rates["extra"]) == (LR, HEAD_LR)
    trained = [p for group in loop.optimizer.param_groups for p in group["params"]]
    assert len(trained) == len({id(p) for p in trained})


@pytest.mark.parametrize("around", [lambda m: m, dtnh], ids=["bare", "dtnh"])
def test_a_module_of_a_state_comes_back_from_a_checkpoint(around):
    whole = Loop(Sum((around(SecondHead()),))).train(3)
    file = whole.save()
    whole.train(3)
    resumed = Loop.resumed(file, Sum((around(SecondHead()),)), weights_first=True).train(3)
    assert_equal(resumed.weights(), whole.weights())
    for a, b in zip(resumed.methods._extras.refs(), whole.methods._extras.refs(), strict=True):
        assert torch.equal(a.param, b.param)


def test_a_module_of_a_state_follows_the_loss_to_its_device():
    loop = Loop(Sum((SecondHead(),)))
    loop.methods._extras.follow(torch.device("meta"))
    assert {r.param.device.type for r in loop.methods._extras.refs()} == {"meta"}


def test_the_source_head_passed_in_is_never_changed():
    head = source_head(token_net)
    before = head.weight.detach().clone()
    Loop(Sum((SecondHead(),)), source_head=head).train(3)
    assert torch.equal(head.weight, before)


def test_a_missing_source_head_is_asked_for():
    with pytest.raises(UsageError, match=r"second_head.*prepare\(model, source_head=old_head\)"):
        holdfast.compose(SecondHead()).prepare(token_net(), HEAD)


def test_a_source_head_of_another_network_is_refused():
    with pytest.raises(UsageError, match="reads 9 features, the network gives 6"):
        holdfast.compose(SecondHead()).prepare(token_net(), HEAD, source_head=nn.Linear(9, 3))


def test_a_host_that_clears_the_networks_gradients_alone_does_no_harm():
    wanted, loop = Loop(Sum((SecondHead(),))).train(4), Loop(Sum((SecondHead(),)))
    loop.optimizer.zero_grad = loop.model.zero_grad
    loop.train(4)
    assert_equal(loop.weights(), wanted.weights())
    assert_equal(loop.added(), wanted.added())
