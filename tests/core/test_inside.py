"""Edits inside the network: which draw a pass gets, checkpoints, copies, what an exception leaves behind."""

import copy
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import holdfast
from holdfast.core import inside
from holdfast.core.clock import Clock
from holdfast.core.errors import ConflictError
from holdfast.core.method import Method
from holdfast.functional.dropping import kept
from holdfast.functional.noise import generator
from methods.loop import Loop, assert_close, assert_equal, differ
from reference.networks import token_net


class Notes(nn.Module):
    """Two layers; notes what leaves the first."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 2)
        self.seen = []

    def forward(self, x):
        z = self.first(x)
        self.seen.append(z.detach().clone())
        return self.second(z)


@dataclass(frozen=True)
class Noisy(Method):
    """Draws one coin for each entry of the first layer's output."""

    stem = "noisy"

    def edit_forward(self, model, state):
        return {"first": self.edit}

    def edit(self, module, args, draw):
        _, output = yield args
        return output * draw.per_sample(output.shape, 0.5, output.device)


def prepared(text="", **options):
    net = Notes()
    methods = holdfast.compose(Noisy(), text)
    methods.prepare(net, "second", **options)
    return net, methods


def zeros(net):
    return [z == 0 for z in net.seen]


def test_every_pass_of_a_step_draws_anew_and_a_seed_repeats_them():
    x = torch.randn(5, 4)
    net, methods = prepared(seed=3)
    for _ in range(2):  # two forwards before one loss
        loss = net(x).sum()
    methods.loss(loss)
    methods.loss(net(x).sum())
    drawn = zeros(net)
    assert len({tuple(z.flatten().tolist()) for z in drawn}) == 3
    again, methods = prepared(seed=3)
    again.load_state_dict(net.state_dict())
    again(x)
    loss = again(x).sum()
    methods.loss(loss)
    again(x)
    assert all(torch.equal(a, b) for a, b in zip(zeros(again), drawn, strict=True))


def test_the_key_is_seed_step_micro_batch_method_place_and_pass():
    net, methods = prepared(seed=7)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    x = torch.ones(3, 4)
    methods.loss(net(x).sum()).backward()
    optimizer.step()
    methods.step(optimizer)
    methods.loss(net(x).sum())
    net(x)
    net(x)
    keys = [(7, 0, 0), (7, 1, 0), (7, 1, 1), (7, 1, 1)]
    for seen, key, before in zip(net.seen, keys, (0, 0, 0, 1), strict=True):
        coins = kept(seen.shape, 0.5, generator("cpu", *key, "noisy", "first", before))
        assert torch.equal(seen != 0, coins)


def test_a_second_forward_within_a_penalty_draws_anew_and_leaves_the_next_batch_alone():
    @dataclass(frozen=True)
    class Again(Method):
        stem = "again"
        taps = ("",)

        def penalty(self, step, state):
            return 0.1 * step.features_of("", torch.ones(3, 4)).sum()

    x = torch.ones(3, 4)
    net, alone = Notes(), Notes()
    alone.load_state_dict(net.state_dict())
    runs = []
    for each, parts in ((net, (Noisy(), Again())), (alone, (Noisy(),))):
        methods = holdfast.compose(*parts)
        methods.prepare(each, "second")
        methods.loss(each(x).sum())
        methods.loss(each(x).sum())
        runs.append(zeros(each))
    with_penalty, without = runs
    assert not torch.equal(with_penalty[0], with_penalty[1])
    assert torch.equal(with_penalty[0], without[0])
    assert torch.equal(with_penalty[2], without[1])


def test_the_global_generator_is_left_alone_and_evaluation_too():
    net, _ = prepared()
    x = torch.randn(5, 4)
    state = torch.get_rng_state()
    net(x)
    assert torch.equal(torch.get_rng_state(), state)
    net.eval()
    assert not (net(x) == 0).any()
    assert torch.equal(net.seen[-1], net.first(x))
    net.train()
    net.first.eval()  # a part that a method or the host keeps asleep
    net(x)
    assert torch.equal(net.seen[-1], net.first(x))


# -- activation checkpoints ------------------------------------------------------------------------------
INSIDE = (
    "conv_dropout(p=0.3, after='stage1.1,stage2.0')",
    "mixout(p=0.5)",
    "stochastic_depth(branches='stage1.1,stage2.0', unit='sample')",
)


class Checkpointed(nn.Module):
    """The layer-normed network with its blocks under activation checkpoints."""

    def __init__(self, reentrant):
        super().__init__()
        whole = token_net()
        self.embed, self.position, self.stage1, self.stage2 = whole.embed, whole.position, whole.stage1, whole.stage2
        self.head, self.reentrant = whole.head, reentrant

    def forward(self, x):
        tokens = self.embed(x.flatten(2).transpose(1, 2)) + self.position
        for stage in (self.stage1, self.stage2):
            tokens = tokens + checkpoint(stage, tokens, use_reentrant=self.reentrant)
        return self.head(tokens.mean(1))


@pytest.mark.parametrize("text", INSIDE)
@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_checkpoint_repeats_the_same_draw(text, reentrant, parts):
    plain, repeated = Loop(text), Loop(text, lambda: Checkpointed(reentrant))
    for t in range(4):
        x, y = plain.batches[t % 3]
        micro = list(zip(x.chunk(parts), y.chunk(parts), strict=True))
        plain.step(*micro)
        repeated.step(*micro)
    assert_close(repeated.weights(), plain.weights(), rtol=1e-12)


@pytest.mark.parametrize("text", INSIDE)
def test_losses_joined_before_one_backward_pass_repeat_each_their_own(text):
    plain, repeated = Loop(text), Loop(text, lambda: Checkpointed(False))
    grads = []
    for loop in (plain, repeated):
        losses = [loop.loss(*batch) for batch in loop.batches]
        sum(losses).backward()
        grads.append({n: p.grad for n, p in loop.model.named_parameters()})
    assert_close(grads[1], grads[0], rtol=1e-12)


def test_a_checkpoint_under_a_gradient_rule():
    text = "dtnh(l2_sp(alpha=0.3))+conv_dropout(p=0.3, after='stage1.1')"
    plain, repeated = Loop(text).train(4), Loop(text, lambda: Checkpointed(False)).train(4)
    assert_close(repeated.weights(), plain.weights(), rtol=1e-12)


@pytest.mark.parametrize("text", ["mixout(p=0.5)", "stochastic_depth", "conv_dropout(after='blocks.1.mlp')"])
def test_timms_own_checkpoints_repeat_the_same_draw(text):
    grads = []
    for checkpoints in (False, True):
        torch.manual_seed(0)
        net = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=3)
        net.set_grad_checkpointing(checkpoints)
        methods = holdfast.compose(text)
        methods.prepare(net)
        loss = methods.loss(F.cross_entropy(net(torch.randn(4, 3, 32, 32)), torch.tensor([0, 1, 2, 0])))
        loss.backward()
        grads.append({name: p.grad for name, p in net.named_parameters()})
    assert_close(*grads, rtol=1e-5)


def test_two_forwards_before_one_loss_under_a_checkpoint_are_refused():
    loop = Loop("conv_dropout(p=0.3, after='stage1.1')", lambda: Checkpointed(False))
    x, y = loop.batches[0]
    both = torch.cat([loop.model(x), loop.model(x)])
    loss = loop.methods.loss(F.cross_entropy(both, torch.cat([y, y])))
    with pytest.raises(ConflictError, match=r"conv_dropout: 'stage1.1' ran 2 times .* Use one forward for each loss"):
        loss.backward()


# -- what is left behind ---------------------------------------------------------------------------------
def test_an_exception_inside_the_module_closes_the_edit():
    closed = []

    def edit(module, args, draw):
        try:
            yield args
        finally:
            closed.append(True)

    net = nn.Linear(4, 2)
    member = SimpleNamespace(key="m", state=None, method=SimpleNamespace(edit_forward=lambda model, state: {"": edit}))
    handles = inside.install(net, [member], Clock())
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        net(torch.ones(1, 3))
    assert closed == [True]
    net(torch.ones(1, 4))
    assert closed == [True, True]
    for handle in handles:
        handle.remove()
    net(torch.ones(1, 4))
    assert len(closed) == 2


def test_copies_draw_nothing_and_do_not_move_the_draws():
    net, _ = prepared()
    x = torch.randn(5, 4)
    twin = copy.deepcopy(net)
    twin(x)
    assert not (twin.seen[-1] == 0).any()
    alone, _ = prepared()
    alone.load_state_dict(net.state_dict())
    assert torch.equal(alone(x), net(x))


def test_a_method_at_zero_strength_puts_nothing_on_the_network():
    loop = Loop("dropout(p=0)+drop_connect(p=0)")
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in loop.model.head.modules())
    assert_equal(loop.train().weights(), Loop("").train().weights())


def test_methods_at_one_place_act_in_their_order():
    one, other = Loop("dropout(p=0.5)+drop_connect(p=0.5)"), Loop("drop_connect(p=0.5)")
    assert differ(one.train(1).weights(), other.train(1).weights())
