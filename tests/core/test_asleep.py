"""What sleeps: for a while or for good, by one method or by two, and what becomes of it under the optimiser."""

import copy
from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import holdfast
from holdfast.core.asleep import Asleep, Sleep
from holdfast.core.clock import Clock
from holdfast.core.method import Method, State, hyper
from reference.networks import HEAD, conv_net, image_batches


@dataclass
class Parts(State):
    asleep: Asleep
    state_dict = dict


@dataclass(frozen=True)
class Nap(Method):
    """One module sleeps for some steps, or for good."""

    stem: ClassVar[str] = "nap"

    path: str = hyper("stage1")
    steps: int = hyper(2)

    def bind(self, model, ctx):
        part = model.get_submodule(self.path)
        return Parts(Asleep(list(part.parameters()), list(part.modules()), for_good=self.steps == 0))

    def asleep(self, clock, state):
        return state.asleep if self.steps == 0 or clock.step < self.steps else None


@dataclass
class Run:
    methods: holdfast.Composition
    model: nn.Module = field(default_factory=conv_net)

    def __post_init__(self):
        self.methods.prepare(self.model, HEAD)
        self.optimizer = torch.optim.SGD(self.methods.param_groups(self.model, lr=0.1), momentum=0.9, weight_decay=0.1)

    def step(self):
        x, y = image_batches()[0]
        self.optimizer.zero_grad()
        self.methods.loss(F.cross_entropy(self.model(x), y)).backward()
        self.optimizer.step()
        self.methods.step(self.optimizer)


def moved(run, start):
    """The modules at whose parameters or statistics anything moved."""
    return {name.partition(".")[0] for name, v in run.model.state_dict().items() if not torch.equal(v, start[name])}


def test_two_naps_overlap():
    run = Run(holdfast.compose(Nap("stage1", 2), Nap("stage1.0", 3), Nap("stage2", 1)))
    seen = []
    for _ in range(4):
        start = copy.deepcopy(run.model.state_dict())
        run.step()
        seen.append((moved(run, start), run.model.stage1[1].weight in run.optimizer.state))
    assert seen == [({"head"}, False), ({"head", "stage2"}, False)] + [({"head", "stage1", "stage2"}, True)] * 2
    assert run.model.stage1[0].weight in run.optimizer.state


def test_a_sleep_for_good_leaves_the_groups_and_outlasts_a_nap():
    run = Run(holdfast.compose(Nap("stage1", 2), Nap("stage1", 0)))
    grouped = {id(p) for group in run.optimizer.param_groups for p in group["params"]}
    assert not grouped & {id(p) for p in run.model.stage1.parameters()}
    start = copy.deepcopy(run.model.state_dict())
    for _ in range(4):
        run.model.train()
        run.step()
    assert moved(run, start) == {"stage2", "head"}
    run.methods.remove()
    assert all(p.requires_grad for p in run.model.parameters())
    assert all(m.training for m in run.model.modules())


def test_what_trains_in_evaluation_mode_is_not_roused():
    run = Run(holdfast.compose(Nap("stage1", 1)))
    run.step()
    run.model.eval()
    run.step()
    assert not any(m.training for m in run.model.modules())
    assert all(p.requires_grad for p in run.model.parameters())


def test_a_copy_wakes_with_its_next_train():
    run = Run(holdfast.compose(Nap("stage1", 3)))
    run.step()
    twin = copy.deepcopy(run.model).train()
    twin(image_batches()[0][0])
    assert all(m.training for m in twin.modules())
    assert not run.model.stage1.training


def test_passes_without_gradient_leave_modes_alone():
    run = Run(holdfast.compose(Nap("stage1", 3)))
    with torch.no_grad():
        run.model(image_batches()[0][0])
    assert run.model.stage1.training


def test_without_a_sleeper_no_hook_is_set():
    model = conv_net()
    Sleep(model, [], Clock()).settle()
    assert not model._forward_pre_hooks


@pytest.mark.parametrize("steps", [0, 2])
def test_a_gradient_of_somebody_elses_does_not_move_a_sleeper(steps):
    run = Run(holdfast.compose(Nap("stage1", steps)))
    start = copy.deepcopy(run.model.state_dict())
    for p in run.model.stage1.parameters():
        p.grad = torch.ones_like(p)
    x, y = image_batches()[0]
    run.methods.loss(F.cross_entropy(run.model(x), y)).backward()
    run.optimizer.step()
    assert moved(run, start) == {"stage2", "head"}
