"""Histograms of filter responses against the oracle's loops, and properties of the filters."""

import math

import pytest
import torch
import torch.nn.functional as F

from holdfast.functional.histograms import REACH, chosen, divergences, gabor_bank, grown, histograms
from reference import btfw as oracle

BINS = 6


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


EDGES = torch.tensor([[-1.0, 1.0], [-0.5, 2.0], [0.25, 0.25]], dtype=torch.float64)


def test_counts_are_the_oracles():
    responses = drawn(4, 3, 5, 7)
    counts = histograms(responses, EDGES, BINS)
    for image, found in zip(responses, counts, strict=True):
        wanted = oracle.describe(image, [tuple(e) for e in EDGES.tolist()], BINS, eps=0.5)
        frequencies = (found + 0.5) / (found + 0.5).sum(-1, keepdim=True)
        assert torch.allclose(frequencies.double(), torch.tensor(wanted, dtype=torch.float64), rtol=1e-7)


def test_responses_on_and_beyond_the_edges_fall_into_the_outermost_bins():
    counts = histograms(torch.tensor([[[-5.0, -1.0, 0.0, 1.0, 9.0]]]), EDGES[:1], 2)
    assert counts.tolist() == [[[2, 3]]]


@pytest.mark.parametrize("eps", [1.0, 0.25])
def test_divergences_are_the_oracles(eps):
    weights = torch.tensor([0.5, 0.5, 1.0], dtype=torch.float64)
    responses = [drawn(n, 3, 6, 6, seed=n) for n in (4, 9)]
    counts = [histograms(r, EDGES, BINS) for r in responses]
    described = [[oracle.describe(i, [tuple(e) for e in EDGES.tolist()], BINS, eps) for i in r] for r in responses]
    wanted = [[oracle.divergence(a, b, weights.tolist()) for b in described[1]] for a in described[0]]
    found = divergences(*counts, weights, eps)
    assert torch.allclose(found, torch.tensor(wanted, dtype=torch.float64), rtol=1e-9, atol=1e-14)


def test_a_divergence_by_hand():
    p, q = torch.tensor([[[3, 1]]]), torch.tensor([[[1, 3]]])
    ones = torch.ones(1, dtype=torch.float64)
    # (3+1)/6 against (1+1)/6 with eps 1: 2 · (1/3) log 2
    assert divergences(p, q, ones).item() == pytest.approx(2 / 3 * torch.tensor(2.0).log().item(), rel=1e-6)
    assert divergences(p, p, ones).item() == pytest.approx(0, abs=1e-15)
    assert torch.equal(divergences(p, q, ones), divergences(q, p, ones))


def test_the_choice_is_the_oracles_and_copies_take_the_lower_index():
    targets, sources = histograms(drawn(20, 3, 6, 6), EDGES, BINS), histograms(drawn(30, 3, 6, 6, seed=1), EDGES, BINS)
    sources = torch.cat([sources, sources[:10]])  # each copy is as near as its original
    ks = torch.arange(20) % 7 + 1
    described = [
        [((c + 1.0) / (c + 1.0).sum(-1, keepdim=True)).tolist() for c in counts.double()]
        for counts in (targets, sources)
    ]
    mask = chosen(targets, sources, torch.full((3,), 1 / 3, dtype=torch.float64), ks)
    assert mask.nonzero().flatten().tolist() == oracle.select(described[0], described[1], ks.tolist())
    everything = chosen(targets, sources, torch.full((3,), 1 / 3, dtype=torch.float64), ks + 100)
    assert everything.all()


def test_growth_is_the_oracles():
    p = drawn(50, 4).mul(3).softmax(1)
    y, ks = torch.arange(50) % 4, torch.arange(50)
    wrong, entropy = p.argmax(1) != y, -(p * p.log()).sum(1)
    wanted = oracle.next_round(ks.tolist(), p, y, 0.6, 40, 20)
    assert grown(ks, wrong, entropy, 0.6, 40, 20).tolist() == wanted
    assert len({k - old for k, old in zip(wanted, ks.tolist(), strict=True)}) == 3


def test_gabor_filters_see_waves_and_not_brightness():
    bank = gabor_bank()
    assert bank.shape == (48, 1, 2 * REACH + 1, 2 * REACH + 1)
    assert bank.sum((1, 2, 3)).abs().max() < 1e-14
    assert torch.allclose(bank.abs().sum((1, 2, 3)), torch.ones(48, dtype=torch.float64))
    assert F.conv2d(torch.full((1, 1, 40, 40), 7.0, dtype=torch.float64), bank).abs().max() < 1e-12
    u = torch.arange(64, dtype=torch.float64)
    waves = (2 * torch.pi * u / 8).cos().expand(1, 1, 64, 64)  # of wavelength 8, along the rows
    strengths = F.conv2d(waves, bank).abs().amax((0, 2, 3)).view(4, 6, 2)
    assert strengths[..., 0].flatten().argmax() == 2 * 6  # third wavelength, first orientation


def test_gabor_filters_by_their_formula():
    """Second wavelength, third orientation, the odd one."""
    bank, wavelength, angle = gabor_bank(), 4 * math.sqrt(2), math.pi * 2 / 6
    raw = torch.empty(2 * REACH + 1, 2 * REACH + 1, dtype=torch.float64)
    for v in range(-REACH, REACH + 1):
        for u in range(-REACH, REACH + 1):
            along = u * math.cos(angle) + v * math.sin(angle)
            envelope = math.exp(-(u * u + v * v) / (2 * (0.56 * wavelength) ** 2))
            raw[v + REACH, u + REACH] = envelope * math.cos(2 * math.pi * along / wavelength - math.pi / 2)
    raw -= raw.mean()
    assert torch.allclose(bank[(1 * 6 + 2) * 2 + 1, 0], raw / raw.abs().sum(), atol=1e-12)
