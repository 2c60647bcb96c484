"""The recipes of the sweeps: which points they hold, and that they train as the smallest recipe does."""

import pytest

from holdfast.bench.catalogue import load
from holdfast.bench.grid import Grid, Scope
from holdfast.core.compose import compose


def texts(name, values=()):
    recipe = load(name)[1]
    grid = Grid(recipe, Scope(), {})
    return {(cell.row, cell.column): grid.method(cell, dict(values)) for cell in grid.cells}, recipe


def test_freeze_sweep_is_every_depth_with_and_without_l2_sp():
    found, recipe = texts("freeze-sweep", {"alpha": 0.1})
    depths = (1, 4, 7, 10, 13, 16, 19)
    plain = ["plain", *(f"freeze(layers={k})" for k in depths)]
    held = ["l2_sp(alpha=0.1)", *(f"freeze(layers={k})+l2_sp(alpha=0.1)" for k in depths)]
    assert list(found.values()) == [*plain, *held]
    assert {recipe.against(row) for row in recipe.methods if row.startswith("plain_")} == {"plain"}
    assert {recipe.against(row) for row in recipe.methods if row.startswith("l2_sp_")} == {"l2_sp"}


def test_the_deepest_row_of_freeze_sweep_freezes_all_but_the_head():
    from holdfast.core.depth import layers
    from holdfast.models.build import build

    built = build("torchvision:mobilenet_v2", 17, pretrained=False)
    assert len(layers(built.model, built.head.head)) == 19


def test_alpha_beta_grid_is_every_pair_once():
    found, _ = texts("alpha-beta-grid")
    methods = [next(iter(compose(text).expression)) for text in found.values()]
    strengths = (0, 0.001, 0.01, 0.1, 1)
    assert sorted((m.alpha, m.beta) for m in methods) == [(a, b) for a in strengths for b in strengths]


def test_rmt_sweep_varies_one_parameter_at_a_time():
    found, _ = texts("rmt-sweep")
    assert [row for (row, _), text in found.items() if text == "plain"] == ["plain"]
    methods = [next(iter(compose(text).expression)) for text in found.values() if text != "plain"]
    points = {(m.R, m.m, m.T) for m in methods}
    assert len(points) == len(methods) == 14
    assert all(sum(a != b for a, b in zip(point, (3, 1, 1), strict=True)) <= 1 for point in points)
    for place, values in enumerate(((1, 2, 3, 5, 10, 30), (0, 0.3, 1, 3, 10), (0.1, 0.3, 1, 2, float("inf")))):
        assert {point[place] for point in points} == set(values)


@pytest.mark.parametrize("name", ["freeze-sweep", "alpha-beta-grid", "rmt-sweep"])
def test_they_train_as_flowers17_mini_does(name):
    recipe, mini = load(name)[1], load("flowers17-mini")[1]
    assert recipe.settings == mini.settings
    assert recipe.models == mini.models
    assert {(data.data, data.samples_per_class) for data in recipe.data.values()} == {("data/flowers17", 5)}
    assert recipe.seeds == 5
