"""The papers' recipes as runs: texts parse, every cell makes settings, protocols train as printed."""

import re

import pytest

from holdfast.bench import catalogue
from holdfast.bench.grid import Grid, Scope
from holdfast.core.compose import compose
from holdfast.train.settings import Settings

RECIPES = {name: recipe for name in catalogue.names() if (recipe := catalogue.load(name)[1]).paper is not None}


def points(recipe, row, column):
    """A row's text at the first and the last point of its grid, in one column."""
    method = recipe.methods[row]
    data, model = recipe.columns[column]
    search = {**(recipe.search_of(method.reuse) if method.reuse else {}), **recipe.search_of(row)}
    for end in (0, -1):
        filled = {**method.values, **recipe.models[model].values, **recipe.data[data].values}
        filled |= {name: options[end] for name, options in search.items()}
        yield re.sub(r"\{(\w+)\}", lambda match: str(filled[match[1]]), method.method)  # noqa: B023 -- used at once


@pytest.mark.parametrize("name", RECIPES)
def test_the_text_forms_of_all_rows_parse(name):
    recipe = RECIPES[name]
    for row, method in recipe.methods.items():
        for column in recipe.columns if method.method is not None else ():
            for text in points(recipe, row, column):
                compose(text)


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if not recipe.data_only])
def test_every_cell_makes_a_run(name, tmp_path):
    recipe = RECIPES[name]
    places = [f"data.{d}" for d in recipe.data] + [f"models.{m}" for m in recipe.models]
    grid = Grid(recipe, Scope(tmp_path), {place: place for place in (*places, "source.imagenet")})
    for cell in grid.cells:
        row = recipe.methods[cell.row]
        search = {**(recipe.search_of(row.reuse) if row.reuse else {}), **recipe.search_of(cell.row)}
        first = {n: o[0] for n, o in search.items() if n in row.placeholders or n in Settings.model_fields}
        settings = grid.job("run", cell, first, 0).settings
        assert settings.transform.partition("-")[0] == recipe.paper.key
        assert (settings.momentum, settings.bn, settings.keep, settings.image_size) == (0.9, "train", "last", 224)
        assert settings.head_lr is None
        assert (settings.source == "imagenet") == (cell.row in ("joint_train", "btfw"))
    assert grid.cells


@pytest.mark.parametrize(
    ("paper", "wanted"),
    [
        ("zhong2020", {"batch_size": 20, "weight_decay": 1e-4, "schedule": "plateau", "cuts": 2}),
        ("li2018", {"batch_size": 64, "iterations": 9000, "decay_at": (6000,), "decay_factor": 0.1}),
        (
            "wan2019",
            {"batch_size": 48, "iterations": 8000, "decay_at": (6000,), "decay_factor": 0.1, "penalty_decay": 1},
        ),
        ("li2020", {"batch_size": 32, "epochs": 40, "lr": 0.01, "schedule": "cosine"}),
    ],
)
def test_protocols_train_as_printed(paper, wanted):
    settings = Settings.of(data="/", **catalogue.protocol(paper).settings)
    assert {name: getattr(settings, name) for name in wanted} == wanted


def test_what_differs_from_a_protocol_within_a_paper():
    assert RECIPES["zhong2020-table5"].settings == {"batch_size": 32}
    for name in ("zhong2020-table1", "zhong2020-table2", "zhong2020-table3", "zhong2020-table4"):
        assert RECIPES[name].models["vgg16"].settings == {"weight_decay": 5e-4, "drop_rate": 0.5}
        assert RECIPES[name].settings == {}
    for n in (2, 3, 4):
        assert RECIPES[f"wan2019-table{n}"].data["cifar10"].settings == {"iterations": 20000}
    starred = [row for row in RECIPES["li2018-table2"].methods if row.endswith("star")]
    assert all(RECIPES["li2018-table2"].methods[row].settings == {"transform": "li2018-star"} for row in starred)
    assert RECIPES["li2018-table2"].search == {"lr": [0.005, 0.01, 0.02]}


def test_layers_of_the_freezing_figure_are_whole_blocks():
    for row, method in RECIPES["li2018-figure3"].methods.items():
        index = re.fullmatch(r"l2(?:_sp)?_(\d+)", row)
        if index is not None:
            stem_and_blocks = int(re.match(r"freeze\(layers=(\d+)\)", method.method)[1])
            assert 1 + 3 * (stem_and_blocks - 1) == int(index[1])
