"""Exponential averages of the weights, kept beside training."""

from hosts import tiny
from hosts.loops import Recipe, by_hand, ema, under_lightning


def test_lightning_averages_the_weights_that_a_hand_written_loop_averages():
    averaged = by_hand(Recipe(tiny.five(), average=True))
    tiny.assert_same(under_lightning(Recipe(tiny.five(), average=True)), averaged)
    tiny.assert_differ(averaged, by_hand(Recipe(tiny.five())))


def test_an_average_beside_training_leaves_it_alone():
    r = Recipe(tiny.five())
    model, (x, _) = tiny.network(), tiny.data()
    r.methods.prepare(model, total_steps=r.steps, steps_per_epoch=r.steps_per_epoch, seed=tiny.SEED)
    average = ema(model)
    average(x)["logits"].sum().backward()
    assert not r.methods._recorder.current.tapped
    assert not r.methods._recorder.current.inputs
    assert all(p.grad is None for p in model.parameters())
