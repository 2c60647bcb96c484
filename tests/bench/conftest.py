"""Small recipes on folders that hold next to nothing, and a training that is a formula: no run takes time."""

import pytest
import yaml

from holdfast.bench.claims import Claims
from holdfast.bench.grid import Scope
from holdfast.bench.plan import make_plan
from holdfast.bench.recipe import Recipe
from holdfast.bench.table import make_table
from holdfast.bench.work import Worker

SMALL = """
title: Three ways
data:
  reds: {data: reds, samples_per_class: 4}
  blues: {data: blues}
models:
  tiny: {model: "timm:test_resnet"}
methods:
  plain: {method: plain, search: {lr: [0.01, 0.1]}}
  ptr: {method: "ptr(R={R})", search: {R: [1, 3]}}
  l2: {method: l2, search: {lr: [0.01, 0.1]}}
seeds: 3
tuning: {trials: 2}
"""


def figures(settings):
    """Accuracies that are a function of the settings alone; a row is better than plain by a point per method."""
    better = 0.01 * ("ptr" in settings.method) + 0.02 * ("R=3" in settings.method) - 0.01 * (settings.lr > 0.05)
    accuracy = 0.7 + better + 0.001 * (settings.seed % 7)
    found = {"val.accuracy": accuracy - 0.1, "val.nll": 1 - accuracy, "versions.torch": "2"}
    return {**found, **({"test.accuracy": accuracy} if settings.measure_test else {})}


def noisy(settings):
    """Figures in which the gain of a method varies from seed to seed."""
    found = figures(settings)
    if settings.method != "plain" and "test.accuracy" in found:
        found["test.accuracy"] += 0.002 * (settings.seed - 1) + 0.004 * (settings.seed == 0)
    return found


@pytest.fixture
def root(tmp_path):
    """A data root with the two folders of the small recipe."""
    for name in ("reds", "blues"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "note").write_text(name)
    return tmp_path / "data"


@pytest.fixture
def recipe():
    """The small recipe."""
    return Recipe.model_validate(yaml.safe_load(SMALL))


@pytest.fixture
def planned(root, tmp_path):
    """A plan of a recipe in ``tmp_path / "out"``."""

    def call(recipe, **scope):
        return make_plan(recipe, Scope(root, **scope), tmp_path / "out", writes=True)

    return call


@pytest.fixture
def table(planned):
    """The table of a recipe after its runs."""

    def call(recipe, fit=noisy, **scope):
        plan = planned(recipe, **scope)
        with Claims(plan.store.claims) as claims:
            Worker(plan, claims, fit=fit).work()
        return make_table(planned(recipe, **scope))

    return call


def varied(recipe, **changes):
    """A recipe with other top-level keys."""
    return Recipe.model_validate({**recipe.model_dump(), **changes})
