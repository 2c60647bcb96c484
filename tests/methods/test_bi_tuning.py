"""Bi-Tuning against its oracle; keys, queue, momentum encoder and projector."""

import copy
import io
from collections import deque

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import holdfast
from holdfast.core.errors import UsageError
from holdfast.core.momentum import KeyQueue
from holdfast.functional.contrast import contrast, extended, unit
from holdfast.functional.noise import generator
from methods import contract
from methods.loop import ADDITIVE_NETWORKS, HEAD_LR, NETWORKS, Loop, assert_close, assert_equal
from methods.oracles import OPTIONS, SEED, batches
from methods.ranks import train_on_two
from methods.trajectories import follows_golden
from reference import bi_tuning as oracle
from reference.networks import HEAD, conv_net, token_net
from reference.training import run_forward, train

P, K = 3, 4
SMALL = f"projection={P}, K={K}"


@contract.every_check
@pytest.mark.parametrize("text", [f"bi_tuning(lam=0.5, {SMALL})", f"bi_tuning({SMALL}, tau=0.5, momentum=0.5)"])
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


def projector(make):
    """The layer that the method draws."""
    width = make().get_submodule(HEAD).in_features
    layer, gen = nn.Linear(width, P).double(), generator("cpu", SEED, "bi_tuning projector")
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_((2 * torch.rand(p.shape, generator=gen, dtype=p.dtype) - 1) * width**-0.5)
    return layer


class Literal:
    """The objective step by step: keys of the last K samples of each class, an encoder that follows after each step."""

    def __init__(self, make, m=0.999, tau=0.07, head_gradient=True):
        self.settings = {"tau": tau, "head_gradient": head_gradient}
        self.m, self.net, self.layer = m, make().eval(), projector(make)
        self.z, self.h = ([deque(maxlen=K) for _ in range(4)] for _ in range(2))
        self.waiting = []

    def queue(self, keys, width):
        filled = [(key, label) for label, some in enumerate(keys) for key in some]
        stacked = torch.stack([key for key, _ in filled]) if filled else torch.zeros(0, width).double()
        return stacked, torch.tensor([label for _, label in filled])

    def penalty(self, step):
        rep, head = step.forward.rep, step.model.get_submodule(HEAD)
        with torch.no_grad():
            seen = run_forward(self.net, HEAD, step.x).rep
            z_key = self.layer(seen)
        tau = self.settings["tau"]
        ccl = oracle.ccl(step.extra["projector"](rep), z_key, step.y, *self.queue(self.z, P), tau)
        cce = oracle.cce(rep, head, step.y, *self.queue(self.h, rep.shape[1] + 1), **self.settings)
        self.waiting = list(zip(step.y.tolist(), z_key, seen, strict=True))
        return ccl + cce

    def after_step(self, run):
        for label, z, seen in self.waiting:
            self.z[label].append(oracle.normalised(z))
            self.h[label].append(oracle.extended(seen))
        for module, prefix in ((self.net, ""), (self.layer, "projector.")):
            mine = dict(module.named_parameters())
            moved = oracle.momentum_update(mine, {name: run.w[prefix + name] for name in mine}, self.m)
            module.load_state_dict(moved | (dict(run.model.named_buffers()) if not prefix else {}))


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize(
    ("text", "settings"),
    [
        (f"bi_tuning({SMALL})", {}),
        (f"bi_tuning({SMALL}, momentum=0.5, tau=0.3)", {"m": 0.5, "tau": 0.3}),
        (f"bi_tuning@tllib({SMALL})", {"head_gradient": False}),
    ],
)
def test_trajectory_is_the_oracles(make, text, settings):
    literal = Literal(make, **settings)
    wanted = train(
        make(), HEAD, batches(), steps=8, penalty=literal.penalty, after_step=literal.after_step,
        extra={"projector": projector(make)}, extra_lr=HEAD_LR, **OPTIONS,
    )  # fmt: skip
    loop = Loop(text, make, seed=SEED)
    for t in range(8):
        loop.train(1)
        assert_close(loop.weights() | loop.added(), wanted.weights[t + 1] | wanted.buffers[t + 1], rtol=1e-9)
    encoder = state_of(loop).encoder.module
    assert_close(encoder.state_dict(), literal.net.state_dict(), rtol=1e-9)
    assert any(len(some) == K for some in literal.z)  # old keys were overwritten


def state_of(loop):
    return loop.methods._members[0].state


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_losses_are_the_oracles_on_any_queue():
    z, z_key, queue = draw(5, 3).requires_grad_(), draw(5, 3, seed=1), unit(draw(8, 3, seed=2))
    y, queue_y = torch.tensor([0, 1, 2, 1, 0]), torch.tensor([0, 0, 0, 1, 1, 1, 1, 0])
    filled = torch.tensor([True] * 6 + [False] * 2)
    found = contrast(unit(z), unit(z_key), queue, y[:, None] == queue_y, filled, 0.2)
    wanted = oracle.ccl(z, z_key, y, queue[:6], queue_y[:6], 0.2)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-12)
    grads = [torch.autograd.grad(value, z)[0] for value in (found, wanted)]
    torch.testing.assert_close(*grads, rtol=1e-11, atol=1e-14)


def test_an_empty_queue_gives_zero_and_no_gradient():
    z = draw(2, 3).requires_grad_()
    nothing = torch.zeros(4, dtype=torch.bool)
    value = contrast(unit(z), unit(draw(2, 3, seed=1)), torch.zeros(4, 3).double(), nothing.expand(2, 4), nothing, 0.07)
    assert value.item() == 0
    assert torch.autograd.grad(value, z)[0].abs().max() == 0


def test_vectors_of_zero_have_finite_gradients():
    """A head that starts at zero, for one."""
    v = torch.zeros(2, 3, requires_grad=True)
    (g,) = torch.autograd.grad(unit(v).sum(), v)
    assert g.abs().max() <= 1
    assert extended(v).detach().tolist() == [[0, 0, 0, 1]] * 2


@pytest.mark.parametrize("sizes", [(3, 3, 3), (9,), (1,) * 9])
def test_queue_holds_the_oracles_keys(sizes):
    """However the samples come; more keys of a class than it holds included."""
    keys, y = draw(9, 2), torch.tensor([0, 1, 1, 1, 0, 1, 1, 1, 2])
    ours, wanted = KeyQueue(3, 3, (2,), keys), oracle.Queue(torch.zeros(3, 3, 2).double())
    for part, labels in zip(keys.split(list(sizes)), y.split(list(sizes)), strict=True):
        ours.add(labels, part)
        ours.push()
        for key, label in zip(part, labels.tolist(), strict=True):
            wanted.push(key, label)
    flat, labels = wanted.flat()
    torch.testing.assert_close(ours.keys[0][:-1], flat, rtol=0, atol=0)
    assert ours.labels[:-1].tolist() == labels.tolist()
    assert ours.filled.tolist() == [True, True, False, True, True, True, True, False, False, False]


def test_keys_enter_when_the_step_is_taken():
    loop = Loop(f"bi_tuning({SMALL})")
    loop.accumulate([loop.batches[0], loop.batches[1]])
    assert not state_of(loop).queue.filled.any()
    loop.finish()
    held = [min(K, count) for count in torch.cat([loop.batches[t][1] for t in (0, 1)]).bincount(minlength=4).tolist()]
    assert state_of(loop).queue.filled.sum().item() == sum(held)


def test_the_encoder_follows_and_does_not_train():
    for momentum, follows in ((1.0, False), (0.0, True)):
        loop = Loop(f"bi_tuning({SMALL}, momentum={momentum})", conv_net)
        start = conv_net().state_dict()
        loop.train(3)
        encoder = state_of(loop).encoder.module
        now = {
            name: value for name, value in encoder.state_dict().items() if "running" not in name and "num" not in name
        }
        wanted = loop.weights() if follows else start
        assert_equal(now, {name: wanted[name] for name in now})
        assert torch.equal(encoder.stage1[1].running_mean, loop.model.stage1[1].running_mean)
        assert not encoder.training
        assert not any(p.requires_grad for p in encoder.parameters())
        grouped = {id(p) for group in loop.optimizer.param_groups for p in group["params"]}
        assert not grouped & {id(p) for p in encoder.parameters()}
        assert {id(p) for p in state_of(loop).projector.parameters()} <= grouped


def test_keys_move_no_statistics_and_draw_no_numbers():
    """Batch-norm sees each batch once; dropout within the network draws for the network's own forward alone."""

    def make():
        model = conv_net()
        model.stage1.append(nn.Dropout(0.5))
        return model

    ends = []
    for text in ("", f"bi_tuning({SMALL})"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            loop = Loop(text, make).train(1)
            ends.append((dict(loop.model.named_buffers()), torch.get_rng_state()))
    assert_equal(ends[0][0], ends[1][0])
    assert torch.equal(ends[0][1], ends[1][1])


def test_everything_of_the_run_is_in_the_checkpoint():
    loop = Loop(f"bi_tuning({SMALL})").train(3)
    saved = torch.load(io.BytesIO(loop.save()), weights_only=True)["methods"]["states"]["bi_tuning"]
    assert saved.keys() == {"projector", "encoder", "key_projector", "queue"}
    assert list(saved["encoder"]) == list(token_net().state_dict())
    assert list(loop.model.state_dict()) == list(token_net().state_dict())  # none of it is exported


@pytest.mark.parametrize("make", NETWORKS)
def test_rows_of_the_port_are_held(make):
    """Both losses reach the head's rows by default, neither of them in tllib's form."""
    x, y = batches()[0]
    plain = Loop("", make)
    for text, held in ((f"bi_tuning({SMALL})", False), (f"bi_tuning@tllib({SMALL})", True)):
        loop = Loop(text, make).train(1)
        plain.model.load_state_dict(loop.weights())
        difference = loop.gradients(x, y)["head.weight"] - plain.gradients(x, y)["head.weight"]
        assert (difference.abs().max() == 0) == held


def test_a_head_without_bias():
    def make():
        model = token_net()
        model.head = nn.Linear(6, 4, bias=False).double()
        return model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make()
    loop = Loop(f"bi_tuning({SMALL})", lambda: copy.deepcopy(model)).train(3)
    assert all(value.isfinite().all() for value in loop.weights().values())


def test_labels_are_asked_for():
    loop = Loop("bi_tuning")
    x, y = loop.batches[0]
    with pytest.raises(UsageError, match="bi_tuning needs the labels"):
        loop.methods.loss(F.cross_entropy(loop.network(x), y))


@pytest.mark.parametrize("make", ADDITIVE_NETWORKS)
def test_two_ranks_with_micro_batches_equal_one_process(make):
    """Keys of both ranks enter every queue; a class has no more than K in a step here, so that their order is free."""
    method = holdfast.compose(f"bi_tuning(projection={P}, K=99)").expression.methods[0]
    alone = Loop(method, make).train(4).weights()
    for weights in train_on_two(method, make, steps=4, micro=2):
        assert_close(weights, alone, rtol=1e-9)


def test_golden_trajectory():
    follows_golden(f"bi_tuning(lam=0.5, {SMALL})")
