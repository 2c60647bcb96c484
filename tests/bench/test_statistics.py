import math
import statistics as oracle

import pytest
import torch
from scipy import stats

from holdfast.bench.statistics import holm, mean, paired_difference, sample_std
from holdfast.core.errors import UsageError

CONTROL = [80.0, 82.5, 79.0, 85.0, 81.0]
TREATED = [81.5, 82.0, 81.0, 86.5, 82.0]


def test_mean_and_spread_match_the_standard_library():
    assert mean(CONTROL) == pytest.approx(oracle.mean(CONTROL))
    assert sample_std(CONTROL) == pytest.approx(oracle.stdev(CONTROL))


def test_a_single_run_has_no_spread():
    assert math.isnan(sample_std([3.0]))


def test_paired_interval_matches_scipy():
    ours = paired_difference(TREATED, CONTROL)
    theirs = stats.ttest_rel(TREATED, CONTROL)
    interval = theirs.confidence_interval(0.95)
    assert ours.mean == pytest.approx(oracle.mean(TREATED) - oracle.mean(CONTROL))
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high))
    assert ours.p == pytest.approx(theirs.pvalue)
    assert ours.pairs == len(CONTROL)


def test_pairing_removes_what_the_pairs_share():
    shared = [0.0, 100.0, -50.0, 30.0, 7.0]
    moved = paired_difference(
        [t + s for t, s in zip(TREATED, shared, strict=True)], [c + s for c, s in zip(CONTROL, shared, strict=True)]
    )
    still = paired_difference(TREATED, CONTROL)
    assert (moved.mean, moved.low, moved.high) == pytest.approx((still.mean, still.low, still.high))


def test_interval_covers_the_truth_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(1000, 5, generator=generator, dtype=torch.float64) + 2.0
    inside = 0
    for row in draws.tolist():
        interval = paired_difference(row, [0.0] * 5)
        inside += interval.low <= 2.0 <= interval.high
    # three standard errors of a share of 0.95 over 1000 draws
    assert abs(inside / 1000 - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 1000)


def test_equal_runs_differ_by_nothing():
    same = paired_difference(CONTROL, CONTROL)
    assert (same.mean, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)


def test_constant_gain_is_certain():
    assert paired_difference([c + 1 for c in CONTROL], CONTROL).p == 0.0


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_stays_a_probability_and_keeps_the_order():
    adjusted = holm([0.9, 0.5, 0.2])
    assert adjusted == pytest.approx([1.0, 1.0, 0.6])
    assert holm([]) == []


@pytest.mark.parametrize(
    ("treated", "control"), [([1.0], [1.0]), ([1.0, 2.0], [1.0]), ([1.0, math.nan], [1.0, 2.0]), ([], [])]
)
def test_unusable_pairs_are_refused(treated, control):
    with pytest.raises(UsageError, match="expected"):
        paired_difference(treated, control)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95])
def test_confidence_is_a_share(confidence):
    with pytest.raises(UsageError, match="confidence"):
        paired_difference(TREATED, CONTROL, confidence)


def test_holm_refuses_what_is_no_probability():
    with pytest.raises(UsageError, match=r"found 1\.2"):
        holm([0.1, 1.2])
