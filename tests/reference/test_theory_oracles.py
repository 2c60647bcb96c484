"""Shrinkage, the toy neuron and the MLP oracles: closed forms and limits."""

import pytest
import torch
import torch.nn.functional as F

from . import mlp_oracles, rifle, shrinkage, toy_neuron


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthonormal(rows, columns):
    return torch.linalg.qr(normal(rows, columns))[0]


@pytest.mark.parametrize("alpha", [0.0, 0.3, 5.0])
def test_estimates_have_no_gradient_left(alpha):
    X, y, w0 = orthonormal(7, 3), normal(7, seed=1), normal(3, seed=2)
    found = shrinkage.estimates(X.tolist(), y.tolist(), w0.tolist(), alpha)
    for name, strength, reference in (("plain", 0.0, 0 * w0), ("l2", alpha, 0 * w0), ("l2_sp", alpha, w0)):
        w = torch.tensor(found[name], dtype=torch.float64)
        slope = X.T @ (X @ w - y) + strength * (w - reference)
        torch.testing.assert_close(slope, torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("distance2", [0.5, 2.0, 3.0, 40.0])
def test_the_thresholds_are_where_the_squared_errors_cross(alpha, distance2):
    sigma, p = 0.5, 8  # the spread is 2
    truth, w0 = [1.0] * p, [1.0 + (distance2 / p) ** 0.5] * p
    errors = {name: sum(parts) for name, parts in shrinkage.risks(truth, w0, sigma, alpha).items()}
    assert (errors["l2_sp"] < errors["plain"]) == shrinkage.beats_least_squares(distance2, p, sigma, alpha)


def test_risks_without_strength_are_those_of_least_squares():
    assert set(shrinkage.risks([1.0, 2.0], [3.0, 4.0], 0.5, 0.0).values()) == {(0.0, 0.5)}


def test_the_minimum_on_a_quadratic_has_no_gradient_left():
    P, eigenvalues = orthonormal(3, 3), torch.tensor([0.0, 0.5, 20.0], dtype=torch.float64)
    w, w0 = normal(3, seed=1), normal(3, seed=2)
    found = torch.tensor(shrinkage.minimum(eigenvalues.tolist(), P.tolist(), w.tolist(), w0.tolist(), 0.7)).double()
    slope = P @ torch.diag(eigenvalues) @ P.T @ (found - w) + 0.7 * (found - w0)
    torch.testing.assert_close(slope, torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("a", "x", "t"), [(1.0, 2.0, 0.5), (1.0, 2.0, 3.0), (0.5, 1.0, 5.0)])
def test_the_neurons_gradient_keeps_its_sign(a, x, t):
    assert toy_neuron.gradient(a, x, t) == pytest.approx((a * x - t) * x, rel=1e-6)


def test_a_sleeping_neuron_has_no_gradient():
    assert toy_neuron.gradient(-1.0, 2.0, 0.5) == 0


def test_the_variance_of_uniform_numbers():
    assert toy_neuron.variance(lambda a, _: a, 1.0, 4.0, 1.0) == pytest.approx(9 / 12, rel=1e-4)
    assert toy_neuron.variance(lambda _, t: t, 1.0, 4.0, 1.5) == pytest.approx(1.5**2 / 3, rel=1e-4)


def problem():
    return normal(4, 3), normal(3, seed=1), normal(5, 4, seed=2), normal(5, seed=3)


def test_written_gradients_are_those_of_autograd():
    W1, W2, X, y = problem()
    a, b = W1.clone().requires_grad_(), W2.clone().requires_grad_()
    F.mse_loss(F.relu(X @ a) @ b, y).backward()
    g1, g2 = mlp_oracles.gradients(W1, W2, X, y)
    torch.testing.assert_close(g1, a.grad)
    torch.testing.assert_close(g2, b.grad)
    assert mlp_oracles.output(W1, W2, X[0]) == pytest.approx(float(F.relu(X @ W1)[0] @ W2))


def test_one_period_is_ordinary_training():
    W1, W2, X, y = problem()
    a, b = W1.clone().requires_grad_(), W2.clone().requires_grad_()
    optimizer = torch.optim.SGD([a, b], lr=0.05, momentum=0.9, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 6)
    for _ in range(6):
        optimizer.zero_grad()
        F.mse_loss(F.relu(X @ a) @ b, y).backward()
        optimizer.step()
        schedule.step()
    found = mlp_oracles.finetuned(W1, W2, [(X, y)] * 6, lr=0.05, momentum=0.9, alpha=0.1)
    torch.testing.assert_close(found, (a.detach(), b.detach()))


def test_the_head_after_the_last_reset_alone_decides_where_training_stands_still():
    W1, W2, X, y = problem()
    drawn = []

    def draw(k, weight):
        drawn.append(k)
        return torch.full_like(weight, float(k))

    still = mlp_oracles.finetuned(W1, W2, [(X, y)] * 7, lr=0.0, momentum=0.9, alpha=0.1, periods=3, draw=draw)
    assert drawn == [1, 2]
    assert rifle.resets(7, 3) == [2, 4]
    torch.testing.assert_close(still, (W1, torch.full_like(W2, 2.0)))


def test_transport_sees_no_order_of_units():
    W1 = normal(4, 3)

    def squared(a, b):
        return float(((a - b) ** 2).sum())

    assert mlp_oracles.transport(W1, W1[:, [2, 0, 1]], squared) == 0
    moved = W1 + 1e-3 * torch.eye(4, 3, dtype=torch.float64)
    assert mlp_oracles.transport(W1, moved, squared) == pytest.approx(1e-6)
