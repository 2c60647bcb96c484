"""Shrinkage: closed forms against the literal version and against simulation, thresholds, limits."""

import json
import math
from itertools import chain

import pytest
import torch
from torch import nn

import holdfast
from holdfast.analysis.theory.shrinkage.closed_form import ESTIMATORS, Setting, largest_alpha, largest_offset, risk
from holdfast.analysis.theory.shrinkage.comparison import ALPHAS, FAR, NEAR, shrinkage, sides
from holdfast.analysis.theory.shrinkage.quadratic import draw_quadratic, found_minimum, keeping, minimum_near_start
from holdfast.analysis.theory.shrinkage.simulation import draw_problem, point, points, simulate
from holdfast.core.errors import UsageError
from holdfast.functional.noise import generator
from reference import shrinkage as literal

SMALL = Setting(samples=9, predictors=4, noise=0.7, size=2.0, distance=1.5)


@pytest.mark.parametrize("alpha", [0.0, 1e-3, 0.4, 1.0, 30.0])
def test_risks_are_those_of_the_literal_version(alpha):
    problem = draw_problem(SMALL)
    expected = literal.risks(problem.truth.tolist(), problem.start.tolist(), problem.noise, alpha)
    for estimator in ESTIMATORS:
        found = risk(estimator, alpha, SMALL)
        assert (found.bias2, found.variance) == pytest.approx(expected[estimator], rel=1e-12, abs=1e-15)


def test_risks_at_the_limits():
    for estimator in ESTIMATORS:
        assert risk(estimator, 0.0, SMALL) == risk("plain", 3.0, SMALL)
    assert risk("l2", 1e9, SMALL).error == pytest.approx(SMALL.size**2)
    assert risk("l2_sp", 1e9, SMALL).error == pytest.approx(SMALL.distance**2)
    at_the_truth = Setting(distance=0.0)
    assert risk("l2_sp", 1e9, at_the_truth).error == pytest.approx(0, abs=1e-15)
    from_zero = Setting(distance=Setting().size)
    assert risk("l2_sp", 0.7, from_zero) == risk("l2", 0.7, from_zero)


@pytest.mark.parametrize("offset", [0.0, 1.0, 4.999, 5.0, 5.001, 16.0, 1e4])
@pytest.mark.parametrize("alpha", [0.01, 0.5, 0.9, 0.92, 10.0, 1e4])
def test_thresholds_tell_the_smaller_error(offset, alpha):
    setting = Setting(distance=math.sqrt(offset))
    assert setting.spread == 5.0
    better = risk("l2_sp", alpha, setting).error < risk("plain", alpha, setting).error
    assert better == (alpha < largest_alpha(setting.offset("l2_sp"), setting.spread))
    assert better == (setting.offset("l2_sp") < largest_offset(alpha, setting.spread))
    assert better == literal.beats_least_squares(offset, setting.predictors, setting.noise, alpha)


def test_least_squares_is_as_good_exactly_at_the_threshold():
    alpha = largest_alpha(FAR.offset("l2_sp"), FAR.spread)
    assert alpha == pytest.approx(10 / 11)
    assert risk("l2_sp", alpha, FAR).error == pytest.approx(risk("plain", alpha, FAR).error)


def test_the_simulation_solves_the_printed_estimates():
    problem = draw_problem(SMALL)
    responses = (problem.design @ problem.truth)[:, None] + SMALL.noise * torch.randn(
        SMALL.samples, 5, generator=generator("cpu", 7), dtype=torch.float64
    )
    for estimator in ESTIMATORS:
        columns = [
            literal.estimates(problem.design.tolist(), y.tolist(), problem.start.tolist(), 0.6)[estimator]
            for y in responses.T
        ]
        estimates = torch.tensor(columns, dtype=torch.float64)
        found = simulate(problem, estimator, 0.6, 5, generator("cpu", 7))
        variance = float(estimates.var(dim=0).sum())
        assert found.variance == pytest.approx(variance, rel=1e-9)
        away = float((estimates.mean(dim=0) - problem.truth).square().sum())
        assert found.bias2 == pytest.approx(away - variance / 5, rel=1e-9, abs=1e-12)
        assert found.error == pytest.approx(float((estimates - problem.truth).square().sum(dim=1).mean()), rel=1e-9)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("alpha", [0.05, 0.8, 6.0])
def test_closed_form_and_simulation_agree_within_four_standard_errors(estimator, alpha):
    parts = point(SMALL, estimator, alpha, seeds=30, draws=100).parts
    for each in parts.values():
        half = (each.difference.high - each.difference.low) / 2  # 2.045 standard errors with 30 seeds
        assert abs(each.difference.mean) < 4 / 2.045 * half
        assert half < 0.1 * SMALL.spread


def test_a_wrong_closed_form_would_be_seen():
    wrong = Setting(distance=1.3 * NEAR.distance)
    simulated = point(NEAR, "l2_sp", 2.0, seeds=20, draws=200).parts["bias2"]
    assert not simulated.interval[0] <= risk("l2_sp", 2.0, wrong).bias2 <= simulated.interval[1]


def test_the_drawn_problem_is_the_papers():
    problem = draw_problem(SMALL)
    identity = torch.eye(SMALL.predictors, dtype=torch.float64)
    torch.testing.assert_close(problem.design.T @ problem.design, identity, rtol=0, atol=1e-12)
    assert float(problem.truth.norm()) == pytest.approx(SMALL.size)
    assert float((problem.start - problem.truth).norm()) == pytest.approx(SMALL.distance)


def test_the_librarys_own_penalty_leads_to_the_estimate():
    problem, alpha = draw_problem(SMALL), 0.6
    y = problem.design @ problem.truth + torch.randn(SMALL.samples, dtype=torch.float64)
    network = nn.Sequential(nn.Linear(4, 1, bias=False), nn.Linear(1, 1, bias=False)).double()
    with torch.no_grad():
        network[0].weight.copy_(problem.start)
        network[1].weight.fill_(1)
    network[1].weight.requires_grad_(False)
    methods = holdfast.compose(f"l2_sp(alpha={alpha}, beta=0)")
    methods.prepare(network, head="1")
    # The Hessian is (1 + α) I: one step of rate 1/(1 + α) ends in the minimum.
    optimizer = torch.optim.SGD(methods.param_groups(network, lr=1 / (1 + alpha)))
    methods.loss(0.5 * (network(problem.design)[:, 0] - y).square().sum()).backward()
    optimizer.step()
    methods.step(optimizer)
    expected = literal.estimates(problem.design.tolist(), y.tolist(), problem.start.tolist(), alpha)["l2_sp"]
    assert network[0].weight[0].tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("alpha", [0.05, 1.0, 20.0])
def test_the_eigenbasis_gives_the_minimum_that_is_found(alpha):
    quadratic = draw_quadratic([0.0, 0.02, 0.5, 3.0, 40.0])
    by_formula = minimum_near_start(quadratic, alpha)
    drawn = (quadratic.eigenvalues, quadratic.basis, quadratic.minimum, quadratic.start)
    expected = literal.minimum(*(each.tolist() for each in drawn), alpha)
    assert by_formula.tolist() == pytest.approx(expected, rel=1e-12)
    assert found_minimum(quadratic, alpha).tolist() == pytest.approx(by_formula.tolist(), rel=1e-6, abs=1e-6)
    shares = keeping(quadratic, alpha)
    assert shares.found == pytest.approx(shares.closed, abs=1e-5)
    assert shares.closed[0] == 0


def test_strong_and_weak_pulls_end_at_start_and_minimum():
    quadratic = draw_quadratic([0.5, 3.0])
    torch.testing.assert_close(minimum_near_start(quadratic, 1e12), quadratic.start)
    torch.testing.assert_close(minimum_near_start(quadratic, 1e-12), quadratic.minimum)


def test_the_sides_of_the_threshold_are_told():
    told = sides(list(points(FAR, ALPHAS, seeds=5, draws=50)))
    limit = largest_alpha(FAR.offset("l2_sp"), FAR.spread)
    assert max(told["below"]) < limit < min(told["above"])
    assert sorted(chain(*told.values())) == list(ALPHAS)


def test_the_finding_has_its_figures_and_its_counts(tmp_path):
    finding = shrinkage(seeds=3, draws=10)
    stored = json.loads(finding.write(tmp_path).read_text())
    assert [each["name"] for each in stored["figures"]] == [
        "shrinkage-near", "shrinkage-far", "shrinkage-distance", "shrinkage-eigenbasis"
    ]  # fmt: skip
    assert all("3 seeds of 10 responses" in each["caption"] for each in stored["figures"][:3])
    assert stored["data"]["near"]["largest_alpha"] == {"l2": 0.5, "l2_sp": None}
    agreed = stored["data"]["agreement"]
    assert agreed["total"] == 2 * (2 * len(ESTIMATORS) * len(ALPHAS) + len(stored["data"]["distances"]))
    assert f"in {agreed['inside']} of {agreed['total']} comparisons" in stored["text"]


def test_one_seed_has_no_interval():
    with pytest.raises(UsageError, match="at least 2 values"):
        shrinkage(seeds=1, draws=10)


def test_the_draws_are_those_of_their_key():
    problem = draw_problem(SMALL)
    first, again, other = (simulate(problem, "l2", 1.0, 4, generator("cpu", seed)) for seed in (1, 1, 2))
    assert first == again != other
