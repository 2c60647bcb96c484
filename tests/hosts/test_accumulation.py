"""One batch and n micro-batches give one result, on each host, where the methods are additive."""

import pytest
import torch

import holdfast
from hosts import tiny
from hosts.loops import HOSTS, Recipe

TEXTS = {
    "additive": tiny.ADDITIVE,
    "projected_on_the_sums": "rifle(periods=4)+dtnh(l2_sp(alpha=0.1), when='step')",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
@pytest.mark.parametrize("host", HOSTS)
def test_accumulating_equals_the_whole_batch(host, text):
    whole = HOSTS[host](Recipe(holdfast.compose(text), dtype=torch.float64))
    parts = HOSTS[host](Recipe(holdfast.compose(text), batch=4, accumulate=3, dtype=torch.float64))
    tiny.assert_close(whole, parts, 1e-9)


@pytest.mark.parametrize("host", HOSTS)
def test_methods_count_optimiser_steps_not_micro_batches(host):
    methods = tiny.five()
    HOSTS[host](Recipe(methods, batch=4, accumulate=3))
    assert methods.clock.step == tiny.STEPS == methods.clock.total_steps
    assert methods.clock.steps_per_epoch == tiny.STEPS_PER_EPOCH
    assert methods.log["rifle.resets"] == 3


def test_uneven_micro_batches_weigh_what_they_hold_under_hugging_face():
    whole = HOSTS["hugging_face"](Recipe(holdfast.compose(tiny.ADDITIVE), batch=12, dtype=torch.float64))
    # 48 images in micro-batches of 10 make 4 of 10 and one of 8: two optimiser steps with 30 and 18 images
    uneven = HOSTS["hugging_face"](Recipe(holdfast.compose(tiny.ADDITIVE), batch=10, accumulate=3, dtype=torch.float64))
    by_thirties = HOSTS["hugging_face"](Recipe(holdfast.compose(tiny.ADDITIVE), batch=30, dtype=torch.float64))
    tiny.assert_close(uneven, by_thirties, 1e-9)
    tiny.assert_differ(uneven, whole)
