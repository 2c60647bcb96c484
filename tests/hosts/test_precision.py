"""Loss scaling by hand: the scale cancels exactly, and a skipped step is no step."""

import contextlib

import pytest
import torch
import torch.nn.functional as F

from hosts import tiny

SKIPPED = (0, 1, 7)


class Scaler:
    """Overflows at chosen batches, otherwise scales by a changing power of two; what torch's scaler does, by plan."""

    def __init__(self, enabled):
        self.inner = torch.amp.GradScaler("cpu", init_scale=2.0**12, growth_interval=2, enabled=enabled)

    def run(self, i, loss, optimizer):
        scaled = self.inner.scale(loss)
        (scaled * torch.inf if i in SKIPPED and self.inner.is_enabled() else scaled).backward()
        if self.inner.is_enabled():
            self.inner.step(optimizer)
        elif i not in SKIPPED:
            optimizer.step()
        self.inner.update()


def _train(scaled, fused=False, half=False):
    methods, model = tiny.five(), tiny.network()
    methods.prepare(model, total_steps=tiny.STEPS, steps_per_epoch=tiny.STEPS_PER_EPOCH, seed=tiny.SEED)
    optimizer = torch.optim.AdamW(methods.param_groups(model, tiny.LR, tiny.HEAD_LR), fused=fused)
    scaler, clocks = Scaler(scaled), []
    autocast = torch.autocast("cpu", torch.float16) if half else contextlib.nullcontext()
    x_all, y_all = tiny.data()
    for i in range(tiny.STEPS + len(SKIPPED)):
        at = slice(i % 4 * tiny.BATCH, (i % 4 + 1) * tiny.BATCH)
        x, y = methods.on_batch(x_all[at], y_all[at])
        with autocast:
            loss = methods.loss(F.cross_entropy(model(x)["logits"], y))
        optimizer.zero_grad()
        scaler.run(i, loss, optimizer)
        methods.step(optimizer)
        clocks.append(methods.clock.step)
    return tiny.weights(model), clocks


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
def test_scaling_by_powers_of_two_changes_no_bit(fused):
    scaled, clocks = _train(scaled=True, fused=fused)
    bare, expected = _train(scaled=False, fused=fused)
    assert clocks == expected
    assert clocks[-1] == tiny.STEPS
    assert [i for i, c in enumerate(clocks) if c == (clocks[i - 1] if i else 0)] == list(SKIPPED)
    tiny.assert_same(scaled, bare)


def test_half_precision_with_skipped_steps_follows_full_precision():
    half, clocks = _train(scaled=True, half=True)
    full, expected = _train(scaled=False)
    start = tiny.network().state_dict()
    assert clocks == expected

    def distance(a, b):
        return sum(float((a[name] - b[name]).square().sum()) for name in a) ** 0.5

    assert distance(half, full) < 0.1 * distance(full, start)
