"""Distances of parameter lists and their gradients."""

import pytest
import torch

from holdfast.functional.params import differences, squared_distances


def lists():
    generator = torch.Generator().manual_seed(0)
    params = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((3, 2), (4,), (2, 1, 3))]
    anchors = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in params]
    return params, anchors


@pytest.mark.parametrize("missing", [(), (1,), (0, 1, 2)])
def test_distances_are_the_written_out_sums(missing):
    params, anchors = lists()
    given = [None if i in missing else a for i, a in enumerate(anchors)]
    wanted = [((p - (0 if a is None else a)) ** 2).sum() for p, a in zip(params, given, strict=True)]
    assert torch.allclose(squared_distances(params, given), torch.stack(wanted), rtol=1e-14)
    for d, p, a in zip(differences(params, given), params, given, strict=True):
        assert torch.equal(d, p - (torch.zeros_like(p) if a is None else a))


def test_differences_are_fresh_memory():
    params, anchors = lists()
    before = [p.clone() for p in params]
    for given in (anchors, [None] * 3):
        for d in differences(params, given):
            d.zero_()
    assert all(torch.equal(p, b) for p, b in zip(params, before, strict=True))


def test_zero_at_the_reference_and_for_strided_parameters():
    p = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    assert squared_distances([p, p.transpose(0, 1)], [p.clone(), None])[0] == 0
    assert torch.allclose(squared_distances([p.transpose(0, 1)], [None])[0], p.square().sum())
