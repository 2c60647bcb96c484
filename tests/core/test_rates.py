"""What happens around the host's ``optimizer.step()``: owned rates, decay, taken steps."""

import copy
import gc
from functools import partial

import pytest
import torch
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from holdfast.core import rates
from holdfast.core.errors import ConflictError
from holdfast.methods.rifle import RIFLE
from methods.loop import HEAD_LR, LR, Loop, assert_equal


def test_a_rate_is_taken_back_though_the_step_fails():
    loop = Loop("rifle(periods=2, variant='B')").train(2)

    def breaks():
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        loop.optimizer.step(breaks)
    loop.accumulate([loop.batches[0]])
    loop.finish()
    assert [group["lr"] for group in loop.optimizer.param_groups] == [LR, HEAD_LR]


@pytest.mark.parametrize(
    "scheduler",
    [
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 8),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, [LR, HEAD_LR], total_steps=20),
        lambda o: torch.optim.lr_scheduler.LinearLR(o, 0.1, total_iters=4),
    ],
)
def test_the_head_starts_each_period_at_the_rate_asked_for(scheduler):
    loop, seen = Loop("rifle(periods=2)", schedule=scheduler), []
    loop.optimizer.register_step_pre_hook(lambda o, *_: seen.append(o.param_groups[-1]["lr"]))
    loop.train()
    assert (seen[0], seen[4]) == (HEAD_LR, HEAD_LR)


def test_only_the_schedulers_rates_reach_its_state():
    """What a method did to a rate leaves nothing that would be saved: resuming with the scheduler is exact."""
    made = {"schedule": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 8)}
    whole = Loop("rifle(periods=2)", **made).train(3)
    file = whole.save()
    whole.train(5)
    for first in (True, False):
        assert_equal(
            Loop.resumed(file, "rifle(periods=2)", weights_first=first, **made).train(5).weights(), whole.weights()
        )


def test_a_resumed_run_remembers_the_rate_of_groups_made_by_hand():
    """The host decays the rate itself: what a method cycles is the rate that it saw first."""

    def by_hand(loop, lr):
        head = list(loop.model.head.parameters())
        body = [p for p in loop.model.parameters() if all(p is not h for h in head)]
        loop.optimizer = torch.optim.SGD([{"params": body, "lr": LR}, {"params": head, "lr": lr}])
        return loop

    whole = by_hand(Loop("rifle(periods=1, variant='B')"), HEAD_LR).train(3)
    saved = (whole.weights(), whole.methods.state_dict())
    whole.optimizer.param_groups[1]["lr"] = 1e-3
    resumed = by_hand(Loop("rifle(periods=1, variant='B')", restored=saved[0]), 1e-3)
    resumed.methods.load_state_dict(saved[1])
    resumed.t = whole.t
    assert_equal(resumed.train(3).weights(), whole.train(3).weights())


def test_decay_is_checked_in_every_group_and_named():
    loop = Loop("l2_sp")
    loop.optimizer.param_groups[1]["weight_decay"] = 0.25
    loop.accumulate([loop.batches[0]])
    with pytest.raises(
        ConflictError, match=r"l2_sp replaces weight decay on head\.weight.*weight_decay=0\.25: set it to 0"
    ):
        loop.optimizer.step()


def test_decay_of_parameters_that_no_penalty_owns_is_the_hosts():
    Loop("ptr(T=inf)", weight_decay=0.1).train(1)


def test_a_wrapped_optimiser_counts():
    """Accelerate's wrapper holds the real one as ``optimizer``."""

    class Wrapper:
        def __init__(self, optimizer):
            self.optimizer = optimizer

    loop = Loop("l2_sp")
    loop.accumulate([loop.batches[0]])
    loop.methods.step(Wrapper(loop.optimizer))
    assert loop.methods.clock.step == 0
    loop.optimizer.step()
    loop.methods.step(Wrapper(loop.optimizer))
    assert loop.methods.clock.step == 1


def test_a_fused_optimiser_that_found_an_overflow_took_no_step():
    """The scaler calls it all the same and lets it look for itself."""
    loop = Loop("l2_sp")
    groups = loop.methods.param_groups(loop.model, lr=LR)
    optimizer, scaler = torch.optim.SGD(groups, fused=True), torch.amp.GradScaler("cpu")
    x, y = loop.batches[0]
    for overflow, step in ((float("inf"), 0), (1.0, 1)):
        before = loop.weights()
        optimizer.zero_grad()
        scaler.scale(loop.loss(x, y) * overflow).backward()
        scaler.step(optimizer)
        scaler.update()
        loop.methods.step(optimizer)
        assert loop.methods.clock.step == step
        assert torch.equal(loop.weights()["head.bias"], before["head.bias"]) == (step == 0)


def test_other_optimisers_and_copies_are_left_alone():
    loop = Loop("rifle(periods=2, variant='B')")
    twin = copy.deepcopy(loop.model)
    other = torch.optim.SGD(twin.parameters(), lr=0.3, weight_decay=0.1)
    seen = []
    other.register_step_pre_hook(lambda o, *_: seen.append(o.param_groups[0]["lr"]))
    loop.train(3)
    other.step()
    assert seen == [0.3]


def test_a_run_is_watched_no_longer_than_it_lives():
    gc.collect()
    before = len(rates._watching)
    Loop("rifle(periods=2)").train(1)
    gc.collect()
    assert len(rates._watching) == before


def test_runs_do_not_pile_up_hooks():
    Loop("rifle(periods=2)")
    before = len(_global_optimizer_pre_hooks), len(_global_optimizer_post_hooks)
    kept = [Loop("rifle(periods=2)").train(1) for _ in range(3)]
    assert (len(_global_optimizer_pre_hooks), len(_global_optimizer_post_hooks)) == before
    assert len(kept) == 3


def test_a_run_may_be_collected_in_the_middle_of_anothers_step(monkeypatch):
    """Garbage is collected whenever Python likes: here inside the optimiser's hooks."""
    loop, dropped = Loop("rifle(periods=2)"), Loop("rifle(periods=2)")
    lr_scale = RIFLE.lr_scale

    def collecting(*args):
        gc.collect()
        return lr_scale(*args)

    monkeypatch.setattr(RIFLE, "lr_scale", collecting)
    loop.train(1)
    del dropped
    loop.train(1)
    assert loop.methods.clock.step == 2


def test_the_rate_of_the_last_step_is_each_parameters_own():
    """As methods had it, before a scheduler moves it on; 0 for what the step left alone."""
    halved = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    loop = Loop("rifle(periods=2)+l1_sp", schedule=halved)
    rates = next(m.state.rates for m in loop.methods._walk() if m.key == "l1_sp")
    assert rates.of(loop.model.embed.weight) == 0
    for t, head in enumerate((HEAD_LR, HEAD_LR * (1 + 2**-0.5) / 2)):
        loop.train(1)
        assert rates.of(loop.model.embed.weight) == LR * 0.5**t
        assert rates.of(loop.model.head.weight) == pytest.approx(head)
    loop.accumulate([loop.batches[0]])
    loop.model.embed.weight.grad = None
    loop.finish()
    assert rates.of(loop.model.embed.weight) == 0
    assert rates.of(torch.zeros(1)) == 0
