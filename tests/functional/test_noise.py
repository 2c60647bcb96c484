"""Random numbers: a function of their key, uniform on [0, 2m), sliced by rank, and nobody else's."""

import pytest
import torch

from holdfast.functional.noise import generator, pseudo_targets


def test_streams_are_a_function_of_the_key():
    keys = [(0, 1, "ptr"), (0, 2, "ptr"), (1, 1, "ptr"), (0, 1, "rifle"), (0, 11), (0, "1/1")]
    drawn = [torch.rand(4, generator=generator("cpu", *key)).tolist() for key in keys]
    assert drawn == [torch.rand(4, generator=generator("cpu", *key)).tolist() for key in keys]
    assert len(set(map(tuple, drawn))) == len(keys)


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    pseudo_targets(torch.zeros(3, 2), 1.0, "element", generator("cpu", 0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("m", [0.5, 10.0])
def test_targets_are_uniform_on_nought_to_twice_the_mean(m):
    t = pseudo_targets(torch.zeros(400, 250, dtype=torch.float64), m, "element", generator("cpu", 3))
    assert t.min() >= 0
    assert t.max() < 2 * m
    error = 4 / (t.numel() ** 0.5)  # four standard errors
    assert abs(t.mean().item() / m - 1) < error
    assert t.var().item() == pytest.approx((2 * m) ** 2 / 12, rel=4 * error)


@pytest.mark.parametrize("m", [0.5, 10.0])
def test_normal_targets_have_the_uniforms_mean_and_variance(m):
    t = pseudo_targets(torch.zeros(400, 250, dtype=torch.float64), m, "gaussian", generator("cpu", 3))
    error = 4 / (t.numel() ** 0.5)
    assert abs(t.mean().item() / m - 1) < error
    assert t.var().item() == pytest.approx((2 * m) ** 2 / 12, rel=8 * error)
    assert ((t - m).abs() > 2 * m).any()  # further than any uniform one


def test_constant_targets_are_the_mean():
    assert bool((pseudo_targets(torch.zeros(3, 2), 0.7, "constant", generator("cpu", 0)) == 0.7).all())


def test_one_target_for_each_instance():
    t = pseudo_targets(torch.zeros(5, 7, 2), 1.0, "instance", generator("cpu", 0))
    assert t.shape == (5, 7, 2)
    assert torch.equal(t, t[:, :1, :1].expand_as(t))
    assert len(t[:, 0, 0].unique()) == 5


@pytest.mark.parametrize("kind", ["element", "instance", "gaussian"])
def test_ranks_draw_slices_of_one_batch(kind):
    whole = pseudo_targets(torch.zeros(6, 3), 1.0, kind, generator("cpu", 0))
    parts = [pseudo_targets(torch.zeros(2, 3), 1.0, kind, generator("cpu", 0), rank, 3) for rank in range(3)]
    assert torch.equal(torch.cat(parts), whole)


def test_shape_and_type_are_the_features():
    like = torch.zeros(2, 3, dtype=torch.float64)
    t = pseudo_targets(like, 1.0, "element", generator("cpu", 0))
    assert (t.shape, t.dtype) == (like.shape, like.dtype)
    assert bool((pseudo_targets(like, 0.0, "element", generator("cpu", 0)) == 0).all())
