"""Periods of a run and rates within one, against the oracle."""

import pytest

from holdfast.functional.schedules import annealed, first_steps, period_at, printed, survival, triangular
from reference import cyclic_lr, stochastic_depth
from reference import rifle as oracle


@pytest.mark.parametrize(
    ("share", "total", "steps"), [(0, 8, 0), (0.5, 8, 4), (0.1, 8, 1), (0.01, 8, 1), (0.3, 10, 3), (1, 7, 7)]
)
def test_a_share_of_a_training_has_a_step_where_it_is_not_nought(share, total, steps):
    assert first_steps(share, total) == steps


@pytest.mark.parametrize(("total", "periods"), [(8, 4), (11, 4), (7, 7), (5, 1), (100, 3)])
def test_periods_and_factors_are_the_oracles(total, periods):
    due = oracle.resets(total, periods)
    for t in range(total):
        index, tau, length = period_at(t, total, periods)
        assert index == sum(t >= r for r in due)
        assert tau == t - ([0, *due][index])
        assert annealed(tau, length) == pytest.approx(oracle.head_factor(t, total, periods), abs=1e-15)
        assert printed(tau, total // periods) == pytest.approx(
            oracle.head_factor(t, total, periods, "printed"), abs=1e-15
        )


@pytest.mark.parametrize(("total", "periods"), [(8, 4), (11, 4), (7, 7), (5, 1)])
def test_periods_cover_the_run_and_none_is_short(total, periods):
    lengths = {period_at(t, total, periods)[0]: period_at(t, total, periods)[2] for t in range(total)}
    assert sum(lengths.values()) == total
    assert min(lengths.values()) >= total // periods


def test_beyond_the_run_is_the_last_periods_end():
    assert period_at(8, 8, 2) == period_at(50, 8, 2) == (1, 4, 4)


def test_ends_of_a_cycle():
    assert [annealed(tau, 4) for tau in (0, 2, 4)] == pytest.approx([1, 0.5, 0], abs=1e-15)
    assert [printed(tau, 4) for tau in (0, 2, 4)] == pytest.approx([1, 0, 1], abs=1e-15)


@pytest.mark.parametrize("floor", [0.0, 0.2])
def test_triangles_are_the_oracles(floor):
    found = [triangular(t % 4, 4, floor) for t in range(8)]
    assert found == pytest.approx([cyclic_lr.factor(t, 8, 2, "triangular", floor) for t in range(8)])
    assert found[:5] == pytest.approx([floor, (1 + floor) / 2, 1, (1 + floor) / 2, floor])


@pytest.mark.parametrize(("blocks", "last"), [(1, 0.5), (4, 0.5), (16, 0.0), (3, 1.0)])
def test_survival_is_the_oracles(blocks, last):
    assert survival(blocks, last) == pytest.approx(stochastic_depth.survival(blocks, last))
