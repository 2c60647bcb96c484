"""BSS against singular values, its oracle, its degenerate cases; ranks."""

import pytest
import torch

import holdfast
from holdfast.functional.features import smallest_spectrum
from methods import contract, micro
from methods.loop import ADDITIVE_NETWORKS, NETWORKS, Loop
from methods.oracles import follow
from methods.trajectories import follows_golden
from reference import bss as oracle
from reference.networks import HEAD
from reference.training import run_forward


@contract.every_check
@pytest.mark.parametrize("text", ["bss(eta=0.3)", "bss(eta=0.1, k=3)"])
def test_contract(check, text):
    check(holdfast.compose(text).expression.methods[0])


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize(("eta", "k"), [(1e-3, 1), (0.3, 1), (0.3, 3), (0.1, 99)])
def test_trajectory_is_the_oracles(make, eta, k):
    follow(f"bss(eta={eta}, k={k})", make, {"penalty": oracle.penalty(eta, k)})


def matrix(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (5, 5), (1, 3)])
@pytest.mark.parametrize("k", [1, 2, 20])
def test_value_and_gradient_are_those_of_singular_values(shape, k):
    features = matrix(*shape)
    U, s, Vh = torch.linalg.svd(features.detach(), full_matrices=False)
    value = smallest_spectrum(features, k)
    torch.testing.assert_close(value, (s[-k:] ** 2).sum(), rtol=1e-10, atol=1e-14)
    (g,) = torch.autograd.grad(value, features)
    torch.testing.assert_close(g, 2 * (U[:, -k:] * s[-k:]) @ Vh[-k:], rtol=1e-10, atol=1e-13)


def test_gradcheck():
    assert torch.autograd.gradcheck(lambda F: smallest_spectrum(F, 2), matrix(4, 6))
    assert torch.autograd.gradcheck(lambda F: smallest_spectrum(F, 2), matrix(6, 4))


@pytest.mark.parametrize(
    "features",
    [torch.eye(5), torch.zeros(4, 6), torch.ones(6, 4), torch.eye(6)[:, :3] * 7, torch.ones(3, 5).cumsum(0)],
    ids=["equal", "zero", "rank one", "equal, tall", "rank one, wide"],
)
def test_degenerate_spectra_have_finite_gradients(features):
    for k in (1, 3):
        F = features.double().requires_grad_()
        value = smallest_spectrum(F, k)
        (g,) = torch.autograd.grad(value, F)
        assert value.isfinite()
        assert g.isfinite().all()
        singular = torch.linalg.svdvals(F.detach())
        assert value.item() == pytest.approx((singular[-k:] ** 2).sum().item(), abs=1e-12)
        assert g.norm().item() == pytest.approx(2 * value.item() ** 0.5, rel=1e-6, abs=1e-6)


def test_overflown_features_give_no_error_but_nan():
    """A gradient scaler must get to see the overflow and skip the step."""
    F = matrix(3, 4).detach()
    F[1, 2] = torch.inf
    assert not smallest_spectrum(F.requires_grad_(), 1).isfinite()


def test_half_precision_is_computed_in_single():
    F = matrix(4, 8).detach().to(torch.bfloat16).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        value = smallest_spectrum(F, 1)
    exact = smallest_spectrum(F.detach().double(), 1)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(exact.item(), rel=1e-5)


@pytest.mark.parametrize("make", NETWORKS)
def test_the_smallest_value_shrinks_and_the_largest_stays(make):
    """Under the penalty alone, without a task."""
    loop, spectra = Loop("bss(eta=1)", make), []
    x, _ = loop.batches[0]
    for _ in range(30):
        spectra.append(torch.linalg.svdvals(run_forward(loop.model, HEAD, x).rep.detach()))
        loop.methods.step(None)
        loop.optimizer.zero_grad()
        loop.methods.loss(loop.network(x).sum() * 0).backward()
        loop.finish()
    assert spectra[-1][-1] < 0.3 * spectra[0][-1]
    assert spectra[-1][0].item() == pytest.approx(spectra[0][0].item(), rel=0.05)


@pytest.mark.parametrize("make", NETWORKS)
def test_accumulation_takes_the_spectrum_of_each_micro_batch(make):
    micro.is_formed_in_each_micro_batch("bss(eta=0.3)", make)


@pytest.mark.parametrize("make", ADDITIVE_NETWORKS)
def test_two_ranks_have_the_spectrum_of_their_joined_micro_batches(make):
    micro.is_formed_over_both_ranks("bss(eta=0.3)", make)


def test_golden_trajectory():
    follows_golden("bss(eta=0.3)")
