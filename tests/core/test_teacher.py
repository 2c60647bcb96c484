"""The frozen starting point: what it answers, in which type, and what it keeps."""

import copy
import gc
import weakref
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
import torchvision
from torch import nn

import holdfast
from holdfast.core.errors import ConflictError, StartingPointError
from holdfast.core.locate import locate
from holdfast.core.method import Method
from holdfast.core.teacher import Teacher
from methods.loop import NETWORKS, Loop, assert_equal
from reference.networks import HEAD, STAGES, conv_net, image_batches, token_net
from reference.training import run_forward


def teacher(model, names=STAGES, **options):
    return Teacher(model, locate(model, HEAD), names, **options)


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("names", [STAGES, ("stage1.0", "stage2.1"), ("stage2.0", "rep", "")])
def test_features_are_the_starting_points(make, names):
    """Before batch-norm too: no tap's output is folded away."""
    model, x = make(), image_batches()[0][0]
    with torch.no_grad():
        for _ in range(3):
            model(x)  # moves the statistics of batch-norm
    found = teacher(model, names)([x])
    forward = run_forward(model.eval(), HEAD, x, [name for name in names if name not in ("rep", "")])
    wanted = forward.maps | {"rep": forward.rep, "": forward.logits}
    for name in names:
        torch.testing.assert_close(found[name], wanted[name].detach(), rtol=1e-12, atol=1e-14)
        assert not found[name].requires_grad


def test_the_student_may_move_on():
    model, x = conv_net(), image_batches()[0][0]
    frozen = teacher(model)
    before = frozen([x])["stage2"]
    with torch.no_grad():
        for p in model.parameters():
            p += 1
        model(x)
    assert torch.equal(frozen([x])["stage2"], before)
    assert model.training


def test_batch_norm_is_folded_and_channels_come_last():
    model = torchvision.models.resnet18(num_classes=3)
    frozen = Teacher(model, locate(model), ["layer2"])
    out = frozen([torch.randn(2, 3, 32, 32)])["layer2"]
    assert not any(isinstance(m, nn.BatchNorm2d) for m in frozen.model.modules())
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert any(isinstance(m, nn.BatchNorm2d) for m in model.modules())


def test_a_matched_teacher_has_the_students_modes_and_keeps_its_statistics():
    model, x = conv_net(), image_batches()[0][0]
    model.stage1.eval()
    frozen = teacher(model, matched=True)
    before = copy.deepcopy(frozen.model.state_dict())
    found = frozen([x])
    maps = run_forward(model, HEAD, x, STAGES).maps
    assert all(torch.equal(found[name], maps[name]) for name in STAGES)
    assert_equal(frozen.model.state_dict(), before)
    model.eval()
    assert torch.equal(frozen([x])["stage2"], run_forward(conv_net().eval(), HEAD, x, STAGES).maps["stage2"])


def test_in_bfloat16_where_asked():
    model, x = conv_net(), image_batches()[0][0]
    exact, coarse = teacher(model)([x])["stage2"], teacher(model, dtype=torch.bfloat16)([x])["stage2"]
    assert coarse.dtype == torch.bfloat16
    assert not torch.equal(exact, coarse.double())
    assert (exact - coarse.double()).abs().max() < 0.03 * exact.abs().max()
    loop = Loop("know_dist(lam=0.1)", conv_net, teacher_dtype=torch.bfloat16).train(2)
    assert loop.methods._teacher.model.stage1[0].weight.dtype == torch.bfloat16
    assert loop.weights()["stage1.0.weight"].dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("loss_inside", [True, False])
def test_under_autocast_it_computes_as_the_student_does(dtype, loss_inside):
    model = conv_net().float()
    methods = holdfast.compose("know_dist(lam=0.1, layers='stage1.0')")
    methods.prepare(model, HEAD)
    seen, inner = [], methods._teacher.model.stage1[0]
    inner.register_forward_hook(lambda _m, _a, out: seen.append(out.dtype))
    x = image_batches()[0][0].float()
    with torch.autocast("cpu", dtype):
        task = model(x).float().square().mean()
        loss = methods.loss(task) if loss_inside else None
    loss = methods.loss(task) if loss is None else loss
    assert seen[-1] == dtype
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_one_forward_per_step_however_many_methods_ask():
    loop = Loop("know_dist(lam=0.1)+know_dist(lam=0.2, layers='stage1')", conv_net).train(1)
    calls = []
    loop.methods._teacher.model.register_forward_hook(lambda *_: calls.append(1))
    loop.train(3)
    assert len(calls) == 3


@pytest.mark.parametrize("text", ["know_dist(lam=0.1)", "dtnh(know_dist(lam=0.1))", "know_dist(lam=0.1)+ptr(T=inf)"])
def test_its_features_are_freed_with_the_step(text):
    loop = Loop(text, conv_net).train(1)
    kept = []

    def note(_module, _args, out):
        kept.append(weakref.ref(out))

    loop.methods._teacher.model.stage1.register_forward_hook(note)
    loss = loop.loss(*loop.batches[0])
    loss.backward()
    gc.collect()
    assert [ref() for ref in kept] == [None]
    assert loop.methods._teacher._seen == {}
    assert loss.item() > 0


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("steps", [0, 2])
def test_saved_and_put_back(make, steps):
    loop = Loop("know_dist(lam=0.1)", make).train(steps)
    other = Loop("know_dist(lam=0.1)", make, restored=loop.weights())
    other.methods.load_state_dict(loop.methods.state_dict())
    x = loop.batches[0][0]
    mine, theirs = (each.methods._teacher([x]) for each in (loop, other))
    assert_equal(mine, theirs)


def test_a_teacher_of_another_network_is_refused():
    saved = Loop("know_dist", conv_net).train(1).methods.state_dict()
    with pytest.raises(StartingPointError, match="does not fit this network"):
        Loop("know_dist", token_net).methods.load_state_dict(saved)
    fresh = Loop("know_dist", conv_net).methods.state_dict()
    with pytest.raises(StartingPointError, match="restore the checkpoint right after prepare"):
        Loop("know_dist", conv_net).train(1).methods.load_state_dict(fresh)


@dataclass(frozen=True)
class Plain(Method):
    """Compares representations with a teacher in evaluation mode."""

    stem: ClassVar[str] = "plain_teacher"
    taps: ClassVar[tuple[str, ...]] = ("rep",)
    needs_teacher: ClassVar[bool] = True


def test_one_teacher_cannot_be_in_two_modes():
    with pytest.raises(ConflictError, match=r"know_dist\(teacher='matched'\) and plain_teacher want .* in different"):
        Loop(holdfast.compose("know_dist(teacher='matched')", Plain()))
