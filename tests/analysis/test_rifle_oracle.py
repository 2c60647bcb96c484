"""RIFLE's MLP experiment: training against the literal version, what is drawn, the readings."""

import json
from dataclasses import replace

import pytest
import torch

from holdfast.analysis.theory.rifle_oracle.data import batches, draw_task, oracles, student, weights
from holdfast.analysis.theory.rifle_oracle.readings import READINGS, Reading, chosen
from holdfast.analysis.theory.rifle_oracle.run import Run, finetuned, run, source_model
from holdfast.core.errors import UsageError
from holdfast.core.grammar import parse
from holdfast.functional.noise import generator
from reference import mlp_oracles as literal
from reference import rifle as literal_rifle

TINY = Reading(
    "tiny", "small", inputs=6, hidden=4, samples=20, batch=8, source_epochs=3, epochs=4, rifle="rifle(periods=2)"
)


def layers(network):
    """W₁ and W₂ as the paper has them."""
    return network.body.weight.detach().T, network.head.weight.detach()[0]


def the_librarys_draw(seed, total, periods):
    """The new heads that a run of this seed draws."""

    def draw(k, weight):
        step = k * literal_rifle.period(total, periods)
        drawn = torch.randn(1, len(weight), generator=generator("cpu", seed, step, "rifle"), dtype=weight.dtype)
        return drawn[0] / (3 * len(weight)) ** 0.5

    return draw


@pytest.mark.parametrize(("arm", "periods"), [("l2", 1), ("rifle", 3)])
def test_fine_tuning_is_that_of_the_literal_version(arm, periods):
    reading = replace(TINY, decay=0.02, lr=0.05, rifle="rifle(periods=3)")
    first, second, third = oracles(reading, 3)
    start = source_model(reading, 3, draw_task(reading, 3, "source", first, second).train)
    samples = draw_task(reading, 3, "target", first, third).train
    order = [(samples.x[rows], samples.y[rows]) for rows in batches(reading, 3, "target", reading.epochs)]
    expected = literal.finetuned(
        *layers(start),
        order,
        lr=0.05,
        momentum=0.9,
        alpha=0.02,
        periods=periods,
        draw=the_librarys_draw(3, 12, periods),
    )
    found = layers(finetuned(reading, 3, start, samples, reading.arms[arm]))
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


def test_the_source_model_is_plain_descent():
    reading = replace(TINY, source_epochs=2)
    first, second, _ = oracles(reading, 0)
    samples = draw_task(reading, 0, "source", first, second).train
    W1, W2 = (weight.clone() for weight in layers(student(reading, 0)))
    for rows in batches(reading, 0, "source", 2):
        g1, g2 = literal.gradients(W1, W2, samples.x[rows], samples.y[rows])
        W1, W2 = W1 - 0.1 * g1, W2 - 0.1 * g2
    for mine, theirs in zip(layers(source_model(reading, 0, samples)), (W1, W2), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


def test_labels_are_the_oracles_and_noise():
    reading = replace(TINY, samples=4000, noise=0.3)
    first, second, third = oracles(reading, 1)
    task = draw_task(reading, 1, "source", first, second)
    clean = [literal.output(first.T, second[0], x) for x in task.test.x[:5]]
    assert task.test.y[:5].tolist() == pytest.approx(clean, rel=1e-12)
    off = task.train.y - torch.relu(task.train.x @ first.T) @ second[0]
    assert float(off.std()) == pytest.approx(0.3, rel=0.05)
    assert abs(float(off.mean())) < 4 * 0.3 / 4000**0.5
    assert float(task.train.x.std()) == pytest.approx(1, rel=0.02)
    other = draw_task(reading, 1, "target", first, third)
    assert not torch.equal(other.train.x, task.train.x)
    assert not torch.equal(second, third)


@pytest.mark.parametrize(("kind", "deviation"), [("layer", (3 * 50) ** -0.5), ("scaled", 50**-0.5), ("unit", 1.0)])
def test_weights_have_the_deviation_that_the_reading_says(kind, deviation):
    drawn = weights(kind, 50, 400, generator("cpu", 0))
    assert drawn.shape == (400, 50)
    assert float(drawn.std()) == pytest.approx(deviation, rel=0.03)
    assert (float(drawn.abs().max()) <= 50**-0.5) == (kind == "layer")


def test_every_epoch_sees_every_sample_once_in_an_order_of_its_own():
    rows = list(batches(TINY, 0, "target", 2))
    assert [len(each) for each in rows] == [8, 8, 4] * 2
    first, second = torch.cat(rows[:3]), torch.cat(rows[3:])
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(20))
    assert first.tolist() != second.tolist()


def test_a_fresh_head_forgets_the_source_models_and_nothing_else():
    start = source_model(TINY, 0, draw_task(TINY, 0, "source", *oracles(TINY, 0)[:2]).train)
    samples = draw_task(TINY, 0, "target", *oracles(TINY, 0)[::2]).train
    still = replace(TINY, lr=0.0, decay=0.0)
    kept = layers(finetuned(still, 0, start, samples, "l2(alpha=0)"))
    fresh = layers(finetuned(replace(still, fresh_head=True), 0, start, samples, "l2(alpha=0)"))
    for mine, theirs in zip(kept, layers(start), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
    torch.testing.assert_close(fresh[0], kept[0], rtol=0, atol=0)
    assert not torch.equal(fresh[1], kept[1])


def test_a_run_repeats_itself_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    first, again = run(TINY, 2), run(TINY, 2)
    assert torch.equal(torch.get_rng_state(), before)
    assert (first.arms, first.source_error) == (again.arms, again.source_error)
    assert first.arms["l2"] != first.arms["rifle"] != first.arms["start"]
    assert run(TINY, 3).arms != first.arms
    assert Run.from_data(json.loads(json.dumps(first.as_data()))) == first


def test_enough_training_finds_the_oracle():
    reading = replace(TINY, samples=400, noise=0.0, source_epochs=20, epochs=60, lr=0.05, decay=0.0)
    found = run(reading, 0)
    assert found.arms["l2"].test < 0.05 * found.arms["start"].test
    assert found.arms["l2"].test < 0.02 * found.variance


def test_a_rate_that_is_too_high_is_named():
    with pytest.raises(UsageError, match="reading 'tiny', seed 0, source model: the training diverged"):
        run(replace(TINY, source_lr=1e6, source_epochs=30), 0)


def test_every_reading_composes_and_is_one_of_its_kind():
    assert len({each.name for each in READINGS}) == len(READINGS)
    assert len({json.dumps(each.settings, sort_keys=True) for each in READINGS}) == len(READINGS)
    for each in READINGS:
        (l2,), both = (tuple(parse(each.arms[arm])) for arm in ("l2", "rifle"))
        assert both == (l2, *parse(each.rifle))
        assert (l2.stem, l2.alpha, both[1].stem) == ("l2", each.decay, "rifle")


def test_names_of_readings():
    assert chosen("all") == READINGS
    assert chosen("low-noise")[0].noise == 0.01
    with pytest.raises(UsageError, match="unknown reading 'low-nose'; did you mean 'low-noise'"):
        chosen("low-nose")
