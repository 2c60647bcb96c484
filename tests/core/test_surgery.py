"""Two backward passes and what they meet: other leaves, other orders, checkpointing, penalties on the logits."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import holdfast
from holdfast.core.anchored import Anchored, Pull
from holdfast.core.errors import ConflictError
from holdfast.core.method import Method, State
from methods.loop import NETWORKS, Loop, assert_close, token_net
from methods.oracles import follow, ptr_targets
from reference import dtnh as oracle
from reference import ptr as ptr_oracle
from reference.networks import HEAD
from reference.training import gradient


@pytest.mark.parametrize("make", NETWORKS)
def test_parameters_outside_the_network_train(make):
    """A learned temperature of the loss gets its own gradient, as in plain training at λ = 0."""

    def temperature_after(text):
        temperature = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))
        loop = Loop(text, make, extra=[temperature])
        for t in range(4):
            x, y = loop.batches[t % 3]
            loop.optimizer.zero_grad()
            # its gradient enters through the logits and, like Kendall's, directly
            loop.methods.loss(F.cross_entropy(loop.network(x) * temperature, y) + temperature.log()).backward()
            loop.finish()
        return temperature.item()

    assert temperature_after("dtnh(l2(alpha=1), lam=0)") == temperature_after("")
    assert temperature_after("dtnh(l2(alpha=1))") != 1.5


@dataclass(frozen=True)
class HeadPull(Method):
    """A closed form on the head alone: ‖w‖²."""

    stem: ClassVar[str] = "head_pull"

    def bind(self, model, ctx):
        state = State()
        state.pull, state.start = Pull(1.0, ctx.head(), False), ctx.start
        return state

    def penalty(self, step, state):
        return Anchored([state.pull], state.start)


def test_a_bare_leaf_in_the_loss_does_not_share_its_gradient_with_the_scale():
    """The gradient of J = s − … on a scalar s *is* the upstream factor: the surgery must not write into it."""
    shift = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
    loop = Loop(holdfast.compose("dtnh(l2_sp(alpha=3, head='free'))", HeadPull()), extra=[shift])
    model = Loop("").model
    for each in (loop.model, model):
        for p in each.parameters():
            p.data.mul_(2)
    x, y = loop.batches[0]
    (loop.methods.loss(shift - F.cross_entropy(loop.network(x), y)) * 2).backward()
    assert loop.methods.log["dtnh.conflict"] == 1

    w, start = dict(model.named_parameters()), dict(Loop("").model.named_parameters())
    body, head = [n for n in w if not n.startswith(HEAD)], [n for n in w if n.startswith(HEAD)]
    g_J = gradient(2 * (shift - F.cross_entropy(model(x), y)), w | {"shift": shift})
    g_O = gradient(2 * 1.5 * sum((w[n] - start[n]).square().sum() for n in body), w | {"shift": shift})
    g_H = gradient(2 * sum(w[n].square().sum() for n in head), w | {"shift": shift})
    found = {n: p.grad for n, p in [*loop.model.named_parameters(), ("shift", shift)]}
    assert_close(found, oracle.add(oracle.direction(g_J, g_O), g_H), rtol=1e-12)


def test_the_upstream_factor_reaches_what_is_logged():
    """PtR's w is that of the unscaled loss, with a gradient rule as without one."""
    found = []
    for text, scale in (("ptr(T=inf)", 1), ("ptr(T=inf)+dtnh(l2_sp)", 1), ("ptr(T=inf)+dtnh(l2_sp)", 64)):
        loop = Loop(text)
        loop.gradients(*loop.batches[0], scale)
        found.append(loop.methods.log["ptr.w"].item())
    assert found[1:] == pytest.approx([found[0]] * 2, rel=1e-12)


class HeadFirst(nn.Module):
    """The same layers, with the head registered before the body and a scale after it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        inner = token_net()
        self.head, self.body, self.scale = inner.head, inner, nn.Linear(4, 4, bias=False).double()
        inner.head = nn.Identity()

    def forward(self, x):
        return self.head(self.body(x)) + 0 * self.scale.weight.sum()


@pytest.mark.parametrize("text", ["l2_sp(alpha=0.7, beta=0.3)", "l2(alpha=0.3, beta=2)"])
def test_order_of_registration_does_not_matter(text):
    x, y = Loop("").batches[0]

    def gradients(order):
        model = HeadFirst()
        if order == "last":
            model._modules["head"] = model._modules.pop("head")
        methods = holdfast.compose(f"dtnh({text})")
        methods.prepare(model, "head")
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(-0.5)
        methods.loss(F.cross_entropy(model(x), y)).backward()
        return {name: p.grad for name, p in sorted(model.named_parameters())}

    assert_close(gradients("first"), gradients("last"), rtol=1e-12)


class Checkpointed(nn.Module):
    """The token network with its first stage under gradient checkpointing."""

    def __init__(self, reentrant: bool):
        super().__init__()
        self.inner, self.head, self.reentrant = token_net(), nn.Linear(4, 4).double(), reentrant

    def forward(self, x):
        x = x.requires_grad_() if self.reentrant else x
        return self.head(checkpoint(self.inner, x, use_reentrant=self.reentrant))


def test_reentrant_checkpointing_is_named_with_its_cure():
    x, y = Loop("").batches[0]
    model = Checkpointed(reentrant=True)
    methods = holdfast.compose("dtnh(l2_sp)")
    methods.prepare(model, "head")
    loss = methods.loss(F.cross_entropy(model(x.clone()), y))
    with pytest.raises(ConflictError, match=r"reentrant.*use_reentrant=False"):
        loss.backward()


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpoint_around_the_head_hides_nothing_silently(reentrant):
    """The representation is then made anew within backward: edited all the same, or refused with the cure."""
    x, y = Loop("").batches[0]
    loop, bare = Loop("ptr(T=inf)"), Loop("ptr(T=inf)")
    logits = checkpoint(loop.model, x.clone().requires_grad_(), use_reentrant=reentrant)
    loss = loop.methods.loss(F.cross_entropy(logits, y))
    if reentrant:
        with pytest.raises(ConflictError, match=r"reentrant.*use_reentrant=False"):
            loss.backward()
        return
    loss.backward()
    assert_close({n: p.grad for n, p in loop.model.named_parameters()}, bare.gradients(x, y), rtol=1e-12)


def test_other_checkpointing_changes_nothing():
    x, y = Loop("").batches[0]
    torch.manual_seed(0)
    kept, recomputed = Checkpointed(False), Checkpointed(False)
    recomputed.load_state_dict(kept.state_dict())
    kept.forward = lambda x: kept.head(kept.inner(x))
    found = []
    for model in (kept, recomputed):
        methods = holdfast.compose("dtnh(l2(alpha=1))+ptr(T=inf)")
        methods.prepare(model, "head")
        methods.loss(F.cross_entropy(model(x.clone()), y)).backward()
        found.append({n: p.grad for n, p in model.named_parameters()})
    assert_close(*found, rtol=1e-12)


def test_a_loss_is_differentiated_once():
    loop = Loop("dtnh(l2_sp)")
    loss = loop.loss(*loop.batches[0])
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="differentiated before"):
        loss.backward()


@dataclass(frozen=True)
class Flat(Method):
    """Half the mean square of the logits: a penalty whose way back leads through the representation."""

    stem: ClassVar[str] = "flat"
    taps: ClassVar[tuple[str, ...]] = ("",)

    def penalty(self, step, state):
        return 0.5 * step.features("").square().sum(1).mean()


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("beside", [False, True])
def test_under_a_gradient_rule_features_are_edited_on_the_tasks_way_alone(make, beside):
    """DTNH differentiates J and Ω one after the other; PtR belongs to J."""
    edited = ptr_oracle.rule(ptr_targets(1.0))

    def rule(step, J):
        g_J, figures = edited(step, J)
        g_O = gradient(0.5 * step.forward.logits.square().sum(1).mean(), step.w)
        if beside:
            zero = {n: torch.zeros_like(g) for n, g in g_O.items()}
            return oracle.add(oracle.direction(g_J, zero), g_O), figures
        return oracle.direction(g_J, g_O), figures

    inside = "dtnh(l2(alpha=0))" if beside else holdfast.DTNH(Flat())
    parts = [holdfast.PtR(T=float("inf")), inside, *([Flat()] if beside else [])]
    follow(holdfast.compose(*parts), make, {"rule": rule})


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("order", [1, -1])
def test_without_a_rule_too_features_are_edited_on_the_tasks_way_alone(make, order):
    parts = (holdfast.PtR(T=float("inf")), Flat())[::order]
    rule = ptr_oracle.rule(ptr_targets(1.0), penalty=lambda step: 0.5 * step.forward.logits.square().sum(1).mean())
    follow(holdfast.compose(*parts), make, {"rule": rule})
