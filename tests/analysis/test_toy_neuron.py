"""The toy neuron: corrected variance against the literal version and against simulation; what the print gets wrong."""

import json

import pytest
import torch

from holdfast.analysis.theory.toy_neuron.closed_form import (
    HIGH,
    LOW,
    feature_variance,
    gradient_variance,
    mean_modulus,
    modulus_variance,
    printed_variance,
)
from holdfast.analysis.theory.toy_neuron.comparison import TARGETS, point, simulate, toy_neuron
from holdfast.core.errors import UsageError
from holdfast.functional.noise import generator
from reference import toy_neuron as literal


@pytest.mark.parametrize("x", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("m", [0.0, 0.4, 1.0, 2.0])
def test_closed_forms_are_those_of_the_literal_version(x, m):
    fine = pytest.approx(gradient_variance(x, m, "element"), rel=2e-4)
    assert literal.variance(lambda a, t: (a * x - t) * x, LOW, HIGH, m, steps=150) == fine
    modulus = literal.variance(lambda a, t: abs(a * x - t) * x, LOW, HIGH, m, steps=150)
    assert modulus == pytest.approx(modulus_variance(x, m), rel=1e-3)
    mean = literal.expectation(lambda a, t: abs(a * x - t), LOW, HIGH, m, steps=150)
    assert mean == pytest.approx(mean_modulus(LOW * x, HIGH * x, m), rel=1e-3)


def test_the_gradients_are_those_of_differences():
    x, m = 1.7, 0.8
    gen = generator("cpu", 5)
    weights = LOW + (HIGH - LOW) * torch.rand(20, generator=gen, dtype=torch.float64)
    targets = 2 * m * torch.rand(20, 1, generator=gen, dtype=torch.float64)[:, 0]
    expected = [literal.gradient(a, x, t) for a, t in zip(weights.tolist(), targets.tolist(), strict=True)]
    assert simulate(x, m, "element", 20, generator("cpu", 5)).tolist() == pytest.approx(expected, rel=1e-6)
    assert min(expected) < 0 < max(expected)


@pytest.mark.parametrize(("x", "m"), [(0.5, 1.0), (2.0, 1.0), (2.0, 3.0)])
def test_closed_form_and_simulation_agree_within_four_standard_errors(x, m):
    found = point(x, m, seeds=30, draws=500)
    for each in (*found.targets.values(), found.modulus):
        half = (each.difference.high - each.difference.low) / 2  # 2.045 standard errors with 30 seeds
        assert abs(each.difference.mean) < 4 / 2.045 * half
        assert half < 0.1 * each.closed


def test_the_printed_form_is_right_at_an_input_of_one_alone():
    assert printed_variance(1.0, 0.7) == gradient_variance(1.0, 0.7, "element")
    assert printed_variance(2.0, 0.7) == pytest.approx(gradient_variance(2.0, 0.7, "element") / 4)
    low, high = point(2.0, 1.0, seeds=20, draws=500).targets["element"].interval
    assert not low <= printed_variance(2.0, 1.0) <= high


def test_limits():
    for kind in TARGETS:
        assert gradient_variance(2.0, 0.0, kind) == gradient_variance(2.0, 5.0, "constant")
    assert gradient_variance(3.0, 2.0, "constant") == pytest.approx(9 * feature_variance(3.0))
    assert gradient_variance(1e-9, 1.0, "element") == pytest.approx(1e-18 / 3)
    # targets that never reach the feature's value from below: the modulus changes nothing
    assert modulus_variance(4.0, 0.5) == pytest.approx(gradient_variance(4.0, 0.5, "element"))
    assert modulus_variance(1.0, 1.0) < gradient_variance(1.0, 1.0, "element")


def test_the_finding_says_what_the_print_misses(tmp_path):
    stored = json.loads(toy_neuron(seeds=10, draws=300).write(tmp_path).read_text())
    assert [each["name"] for each in stored["figures"]] == ["toy-neuron-targets", "toy-neuron-inputs"]
    outside = [
        each["x"]
        for each in stored["data"]["over_x"]
        if not each["targets"]["element"]["low"] <= each["eq7"] <= each["targets"]["element"]["high"]
    ]
    assert {0.25, 0.5, 2.0, 3.0} <= set(outside)
    assert f"outside the interval at {len(outside)} of 6 inputs" in stored["text"]
    assert all("10 seeds of 300 draws" in each["caption"] for each in stored["figures"])
    assert stored["data"]["agreement"]["total"] == 4 * 11  # two sweeps of six that share a point


def test_one_seed_has_no_interval():
    with pytest.raises(UsageError, match="at least 2 values"):
        toy_neuron(seeds=1, draws=10)
