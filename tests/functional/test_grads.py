"""Inner products, the part in conflict, angles."""

import math

import pytest
import torch

from holdfast.functional.grads import angle, conflict, inner_product, products, sum_angles
from reference import dtnh as oracle


def draw(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_missing_entries_count_as_nought():
    a, b = [draw(0, 3), None, draw(1, 2, 2), None], [draw(2, 3), draw(3, 4), None, None]
    like = torch.zeros((), dtype=torch.float64)
    assert inner_product(a, b, like).item() == pytest.approx((a[0] * b[0]).sum().item(), rel=1e-14)
    assert inner_product([None], [draw(0, 3)], like).item() == 0
    assert inner_product([], [], like).dtype == torch.float64


def test_strides_do_not_matter():
    a, b = draw(0, 4, 5), draw(1, 5, 4).T
    like = torch.zeros(())
    assert inner_product([a], [b], like).item() == pytest.approx((a * b).sum().item(), rel=1e-14)
    assert inner_product([b], [b], like).item() == pytest.approx((b * b).sum().item(), rel=1e-14)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_neither_overflow_nor_stall(dtype):
    ones = torch.full((100_000,), 2.0, dtype=dtype)
    assert inner_product([ones], [ones], ones).item() == 400_000


@pytest.mark.parametrize("seed", range(6))
def test_what_is_left_is_orthogonal_or_whole(seed):
    g, h = draw(seed, 5), draw(seed + 100, 5)
    c = conflict(g @ h, g @ g)
    left = h - c * g
    projected = oracle.project({"p": g}, {"p": h})["p"]
    assert torch.allclose(left, projected, rtol=1e-12)
    if g @ h < 0:
        assert abs((left @ g).item()) < 1e-12
    else:
        assert c == 0


def test_no_task_gradient_is_no_conflict():
    assert conflict(torch.tensor(0.0), torch.tensor(0.0)).item() == 0
    assert conflict(torch.tensor(-1.0), torch.tensor(0.0)).item() == 0


@pytest.mark.parametrize(
    ("a", "b", "degrees"), [((1, 0), (0, 2), 90), ((1, 1), (3, 3), 0), ((1, 0), (-1, 0), 180), ((1, 0), (1, 1), 45)]
)
def test_angles(a, b, degrees):
    a, b = (torch.tensor(v, dtype=torch.float64) for v in (a, b))
    assert angle(a @ b, a @ a, b @ b).item() == pytest.approx(degrees, abs=1e-5)


def test_angle_to_nothing_is_nan():
    assert math.isnan(angle(torch.tensor(0.0), torch.tensor(0.0), torch.tensor(1.0)).item())


def test_the_angle_of_tiny_gradients_is_known():
    """Their squared norms are numbers of float32, the product of these is none."""
    a, b = torch.full((4,), 1e-13), torch.tensor([1e-13, 1e-13, -1e-13, -1e-13])
    assert angle(a @ b, a @ a, b @ b).item() == pytest.approx(90, abs=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_angles_of_a_sum(seed):
    g, h, lam = draw(seed, 5), draw(seed + 100, 5), 0.3 + seed
    s = g + lam * h
    found = sum_angles(products([g], [h], g.sum()), lam)
    pairs = {"angle": (g, h), "angle3": (s, g), "angle4": (s, h)}
    for name, (a, b) in pairs.items():
        assert found[name].item() == pytest.approx(oracle.angle({"p": a}, {"p": b}), abs=1e-6), name
    assert found["conflict"].item() == (g @ h < 0)
