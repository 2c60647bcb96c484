"""A folder of ``holdfast bench`` whose training is a formula."""

import yaml

from holdfast.bench.claims import Claims
from holdfast.bench.grid import Scope
from holdfast.bench.plan import make_plan
from holdfast.bench.recipe import Recipe
from holdfast.bench.work import Worker

RECIPE = """
title: "Small data & <large> nets"
data: {}
models:
  tiny: {model: "timm:test_resnet"}
methods:
  plain: {method: plain}
  l2_sp: {method: "l2_sp(alpha=0.1)"}
  ptr: {method: "ptr(R=3)"}
seeds: 5
"""
EPOCHS = 6


def recipe(columns=("reds", "blues"), **changes):
    """The recipe, with a data set for each column."""
    content = yaml.safe_load(RECIPE)
    content["data"] = {name: {"data": name} for name in columns}
    return Recipe.model_validate({**content, **changes})


def figures(settings):
    """Accuracies that are a function of the settings: l2_sp gains two points, ptr nothing but noise."""
    seed = settings.seed
    noise = {"plain": 0.0, "l2_sp(alpha=0.1)": 0.02 + 0.001 * (seed % 3), "ptr(R=3)": 0.01 * (-1) ** seed}
    accuracy = 0.7 + 0.01 * (seed % 4) + noise.get(settings.method, 0.0)
    rows = "".join(f"{epoch},{accuracy * epoch / EPOCHS}\n" for epoch in range(1, EPOCHS + 1))
    settings.out.mkdir(parents=True, exist_ok=True)
    (settings.out / "metrics.csv").write_text(f"epoch,val.accuracy\n{rows}", encoding="utf-8")
    found = {"val.accuracy": accuracy, "val.nll": 1 - accuracy, "seconds": 3.0, "versions.torch": "2"}
    return {**found, "test.accuracy": accuracy, "test.nll": 1 - accuracy, "test.ece": 0.1}


def make_grid(root, asked=None, fit=figures, **scope):
    """Run a recipe below ``root`` and return the folder of its results."""
    asked = asked or recipe()
    for data in asked.data.values():
        (root / "data" / data.data).mkdir(parents=True, exist_ok=True)
        (root / "data" / data.data / "note").write_text(data.data, encoding="utf-8")
    plan = make_plan(asked, Scope(root / "data", **scope), root / "grid", writes=True)
    with Claims(plan.store.claims) as claims:
        Worker(plan, claims, fit=fit).work()
    return root / "grid"
