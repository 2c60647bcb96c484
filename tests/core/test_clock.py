"""Steps that were taken, epochs, and the mean task loss of the last one."""

import pytest
import torch

from holdfast.core.clock import Clock
from holdfast.core.errors import UsageError


def test_epochs_follow_the_steps():
    clock = Clock(steps_per_epoch=3)
    seen = []
    for _ in range(7):
        seen.append((clock.epoch, clock.epoch_begins))
        clock.advance()
    assert seen == [(0, False), (0, False), (0, False), (1, True), (1, False), (1, False), (2, True)]


def test_without_steps_per_epoch_there_is_one_epoch():
    clock = Clock()
    for _ in range(5):
        clock.see_loss(torch.tensor(1.0))
        clock.advance()
    assert (clock.epoch, clock.epoch_begins, clock.epoch_loss) == (0, False, None)


def test_mean_is_over_all_micro_batches_of_the_epoch():
    clock = Clock(steps_per_epoch=2)
    for losses in ((1.0, 2.0), (6.0,), (100.0,)):
        for loss in losses:
            clock.see_loss(torch.tensor(loss))
        clock.advance()
    assert clock.epoch_loss == 3.0


def test_micro_batches_count_from_the_last_taken_step():
    clock = Clock()
    clock.see_loss(torch.tensor(1.0))
    clock.see_loss(torch.tensor(1.0))
    assert clock.micro == 2
    clock.advance()
    assert clock.micro == 0


def test_state_carries_a_half_finished_epoch():
    clock, other = Clock(steps_per_epoch=2), Clock(steps_per_epoch=2)
    clock.see_loss(torch.tensor(1.0))
    clock.advance()
    clock.see_loss(torch.tensor(4.0))
    clock.head_resets = 5
    other.load_state_dict(clock.state_dict())
    for each in (clock, other):
        each.advance()
    assert other == clock
    assert (other.epoch_loss, other.head_resets) == (2.5, 5)


def test_needed_numbers_are_asked_for():
    with pytest.raises(UsageError, match=r"rifle needs total_steps: pass prepare\(\.\.\., total_steps=N\)"):
        Clock().require("total_steps", "rifle")
    assert Clock(total_steps=9).require("total_steps", "rifle") == 9
