"""Host schedulers and optimisers beside methods that own the head's rate."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, OneCycleLR, ReduceLROnPlateau, SequentialLR

import holdfast
from holdfast.functional.schedules import annealed, period_at
from hosts import tiny

PERIODS = 4


class Signs(torch.optim.Optimizer):
    """Somebody's own optimiser: steps by the gradient's sign."""

    def __init__(self, groups):
        super().__init__(groups, {"lr": 0.1, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(p.grad.sign(), alpha=-group["lr"])


OPTIMISERS = {
    "sgd": lambda groups: SGD(groups, momentum=0.9),
    "adamw": AdamW,
    "fused": lambda groups: AdamW(groups, fused=True),
    "own": Signs,
}


def _warm_up(optimizer):
    parts = [LinearLR(optimizer, 0.1, total_iters=3), CosineAnnealingLR(optimizer, tiny.STEPS - 3)]
    return SequentialLR(optimizer, parts, milestones=[3])


SCHEDULES = {
    "one_cycle": lambda o: OneCycleLR(o, [g["lr"] for g in o.param_groups], tiny.STEPS, cycle_momentum=False),
    "cosine": lambda o: CosineAnnealingLR(o, tiny.STEPS),
    "plateau": lambda o: ReduceLROnPlateau(o, factor=0.5, patience=0, threshold=10.0),
    "warm_up": _warm_up,
}


def _rates(text, optimiser, schedule):
    """The rates at which each step was made and those that the host saw after it, by group name."""
    methods, model = holdfast.compose(text), tiny.network()
    methods.prepare(model, total_steps=tiny.STEPS, steps_per_epoch=tiny.STEPS_PER_EPOCH, seed=tiny.SEED)
    optimizer = OPTIMISERS[optimiser](methods.param_groups(model, lr=tiny.LR, head_lr=tiny.HEAD_LR))
    scheduler = SCHEDULES[schedule](optimizer)
    made, seen = [], []

    def note(rates):
        rates.append({g["name"]: float(g["lr"]) for g in optimizer.param_groups})

    optimizer.register_step_post_hook(lambda *_: note(made))
    x, y = tiny.data()
    for i in range(tiny.STEPS):
        at = slice(i % 4 * tiny.BATCH, (i % 4 + 1) * tiny.BATCH)
        loss = methods.loss(F.cross_entropy(model(x[at])["logits"], y[at]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        methods.step(optimizer)
        note(seen)
        scheduler.step(*([1.0] if schedule == "plateau" else []))
    assert all(p.isfinite().all() for p in model.parameters())
    return made, seen


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_body_follows_the_host_and_the_head_its_cycle(schedule, optimiser):
    made, seen = _rates(f"rifle(periods={PERIODS})+dtnh(l2_sp(alpha=0.1))+ptr(T=inf)", optimiser, schedule)
    plain, _ = _rates("", optimiser, schedule)
    assert [r["body"] for r in made] == [r["body"] for r in plain]
    assert len({r["body"] for r in made}) > 3, "the host's schedule moved nothing"
    assert seen == plain, "a method's factor leaked into the rates that the host's scheduler continues from"
    for step, rates in enumerate(made):
        _, tau, length = period_at(step, tiny.STEPS, PERIODS)
        assert math.isclose(rates["head"], tiny.HEAD_LR * annealed(tau, length), rel_tol=1e-6)
