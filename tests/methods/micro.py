"""What methods promise of micro-batches and ranks, checked in the way that is common to several of them."""

from collections.abc import Callable

from torch import nn

import holdfast
from methods import ranks
from methods.loop import Loop, assert_close, differ, frozen_conv_net

Network = Callable[[], nn.Module]


def sums_weigh_half_in_two_halves(whole: str, half: str, make: Network) -> None:
    """A penalty that is a sum over the batch: averaged over two micro-batches it is that of ``half`` on the whole."""
    on_whole, on_half, parts = (Loop(text, make).train(1) for text in (whole, half, whole))
    for loop in (on_half, parts):
        loop.model.load_state_dict(on_whole.weights())
    x, y = on_whole.batches[1]
    parts.accumulate([(x[:4], y[:4]), (x[4:], y[4:])])
    found = {n: p.grad for n, p in parts.model.named_parameters()}
    assert_close(found, on_half.gradients(x, y), rtol=1e-9)
    assert differ(found, on_whole.gradients(x, y))


def sums_weigh_half_on_two_ranks(whole: str, half: str) -> None:
    """The same over two processes, each with half of the batch."""
    method = holdfast.compose(whole).expression.methods[0]
    alone = Loop(half, frozen_conv_net).train(4).weights()
    for weights in ranks.train_on_two(method, frozen_conv_net, steps=4):
        assert_close(weights, alone)


def is_formed_in_each_micro_batch(text: str, make: Network) -> None:
    """Gradients of two micro-batches are the mean of each one's own, and not those of the whole batch."""
    whole, parts = Loop(text, make), Loop(text, make)
    x, y = whole.batches[0]
    parts.accumulate([(x[:4], y[:4]), (x[4:], y[4:])])
    found = {name: p.grad for name, p in parts.model.named_parameters()}
    halves = [whole.gradients(x[half], y[half]) for half in (slice(4), slice(4, 8))]
    assert_close(found, {name: (halves[0][name] + halves[1][name]) / 2 for name in found}, rtol=1e-12)
    assert differ(found, Loop(text, make).gradients(x, y))


def is_formed_over_both_ranks(text: str, make: Network) -> None:
    """Two ranks with two micro-batches each train as one process whose micro-batches hold both ranks' samples."""
    method = holdfast.compose(text).expression.methods[0]
    loop = Loop(method, make)
    for t in range(3):
        x, y = loop.batches[t]
        order = [[0, 1, 4, 5], [2, 3, 6, 7]]  # the first micro-batch of both ranks, the second
        loop.step(*((x[i], y[i]) for i in order))
    for weights in ranks.train_on_two(method, make, steps=3, micro=2):
        assert_close(weights, loop.weights(), rtol=1e-9)
