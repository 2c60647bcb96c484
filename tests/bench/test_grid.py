import time
from pathlib import Path

import pytest

from holdfast.bench.grid import Cell, Grid, Scope
from holdfast.bench.plan import make_plan, stored_plan
from holdfast.bench.recipe import Recipe
from holdfast.bench.selection import selection
from holdfast.core.errors import UsageError

from .conftest import varied

SOURCES = {"data.reds": "a", "data.blues": "b", "models.tiny": "published"}


def grid(recipe, root="/", sources=SOURCES, **scope):
    return Grid(recipe, Scope(Path(root), **scope), sources)


def test_every_run_has_a_name_of_its_own(recipe):
    made = grid(recipe)
    values = {"plain": {"lr": 0.1}, "ptr": {"R": 1}, "l2": {"lr": 0.1}}
    names = [made.job("run", cell, values[cell.row], seed).name for cell in made.cells for seed in range(3)]
    assert len(set(names)) == 18


def test_a_name_is_made_of_what_decides_the_result_and_of_nothing_else(recipe):
    cell = Cell("ptr", "reds")
    name = grid(recipe).job("run", cell, {"R": 1}, 0).name
    assert grid(recipe, root="/elsewhere").job("run", cell, {"R": 1}, 0).name == name
    machine = {"threads": 4, "workers": 2, "cache": "off", "tensorboard": False}
    assert grid(varied(recipe, settings=machine, title="Other", seeds=9)).job("run", cell, {"R": 1}, 0).name == name
    others = [
        grid(recipe).job("run", cell, {"R": 1}, 1),
        grid(recipe).job("run", cell, {"R": 2}, 0),
        grid(recipe).job("tune", cell, {"R": 1}, 0),
        grid(recipe).job("run", Cell("ptr", "blues"), {"R": 1}, 0),
        grid(recipe, sources={**SOURCES, "data.reds": "c"}).job("run", cell, {"R": 1}, 0),
        grid(recipe, sources={**SOURCES, "models.tiny": "c"}).job("run", cell, {"R": 1}, 0),
        grid(recipe, mini=True).job("run", cell, {"R": 1}, 0),
        grid(varied(recipe, settings={"epochs": 3})).job("run", cell, {"R": 1}, 0),
    ]
    assert len({name, *(job.name for job in others)}) == len(others) + 1


def test_later_settings_win(recipe):
    content = recipe.model_dump()
    content["settings"] = {"epochs": 1, "batch_size": 1, "lr": 1.0, "momentum": 0.1, "precision": "bf16"}
    content["models"]["tiny"]["settings"] = {"batch_size": 2, "lr": 2.0, "momentum": 0.2}
    content["data"]["reds"]["settings"] = {"lr": 3.0, "momentum": 0.3}
    content["methods"]["plain"]["settings"] = {"momentum": 0.4}
    content["mini"] = {"settings": {"epochs": 9}, "samples_per_class": 3}
    made = grid(Recipe.model_validate(content), mini=True).job("run", Cell("plain", "reds"), {"lr": 4.0}, 0).settings
    assert (made.precision, made.epochs, made.batch_size, made.momentum, made.lr) == ("bf16", 9, 2, 0.4, 4.0)
    assert made.samples_per_class == 3


def test_a_papers_protocol_comes_first(recipe):
    made = grid(varied(recipe, protocol="wan2019", settings={"lr": 0.5}))
    settings = made.job("run", Cell("ptr", "reds"), {"R": 1}, 0).settings
    assert (settings.batch_size, settings.lr) == (48, 0.5)


def test_placeholders_are_filled_by_tuning_then_data_network_and_row(recipe):
    content = recipe.model_dump()
    content["methods"]["ptr"] |= {"method": "ptr(R={R}, m={m}, T={T})+l2_sp(alpha={alpha})", "search": {}}
    content["methods"]["ptr"]["values"] = {"R": 1, "m": 1, "T": 1.0, "alpha": 1e-05}
    content["models"]["tiny"]["values"] = {"R": 2, "m": 2, "T": 2.0}
    content["data"]["reds"]["values"] = {"R": 3, "m": 3}
    content["tuning"] = None
    for row in content["methods"].values():
        row["search"] = {}
    made = grid(Recipe.model_validate(content))
    assert made.method(Cell("ptr", "reds"), {"R": 4}) == "ptr(R=4, m=3, T=2)+l2_sp(alpha=1e-05)"


def test_trials_leave_the_test_part_alone_and_have_seeds_of_their_own(recipe):
    made = grid(recipe)
    cell = Cell("plain", "reds")
    (trial,) = made.trial(cell, {"lr": 0.1})
    final = made.job("run", cell, {"lr": 0.1}, 0)
    assert (trial.settings.val_within, trial.settings.measure_test, trial.seed) == (True, False, 1000)
    assert (final.settings.val_within, final.settings.measure_test, final.seed) == (False, True, 0)
    assert trial.settings.split_seed == final.settings.split_seed == 0  # one test part for all, never trained on


def test_only_some_cells(recipe):
    assert grid(recipe, only="ptr and reds").cells == [Cell("ptr", "reds")]
    assert grid(recipe, only="tiny and not blues").cells == [Cell(row, "reds") for row in ("plain", "ptr", "l2")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", True), ("c", False), ("not c", True), ("a and c", False), ("a or c", True), ("c or a and b1", True),
        ("(c or a) and c", False), ("not (a and b1)", False), ("b*", True), ("b?", True), ("not not a", True),
    ],
)  # fmt: skip
def test_expressions(text, expected):
    assert selection(text)(frozenset({"a", "b1"})) is expected


@pytest.mark.parametrize("text", ["", "a and", "(a", "a b", "or a", "a )", "not"])
def test_expressions_that_are_none(text):
    with pytest.raises(UsageError, match=r"--only .* has .*; write for instance"):
        selection(text)


def test_a_column_without_its_data_is_left_out_with_the_reason(recipe, planned, root):
    (root / "blues" / "note").unlink()
    (root / "blues").rmdir()
    plan = planned(recipe)
    assert list(plan.left_out) == ["column blues"]
    assert "no folder" in plan.left_out["column blues"]
    assert {job.cell.column for job in plan.ready()} == {"reds"}


def test_a_row_without_its_source_pictures_is_left_out_alone(recipe, planned):
    for place in (0, 3):  # whether it is the first row or the last one
        rows = list(recipe.model_dump()["methods"].items())
        joint = {"method": "joint_train(lam={lam})", "search": {"lam": [0.5, 1]}, "reuse": "plain"}
        rows.insert(place, ("joint", {**joint, "settings": {"source": "imagenet"}}))
        plan = planned(varied(recipe, methods=dict(rows)))
        assert list(plan.left_out) == ["joint in column reds", "joint in column blues"]
        assert {job.cell.row for job in plan.ready()} == {"plain", "ptr", "l2"}


@pytest.mark.parametrize("name", ["f.safetensors", f"{'long' * 50}.safetensors"])
@pytest.mark.parametrize("text", ["l2_sp_fisher(alpha=1.0, fisher='{}')", "dtnh(gl_sp_fisher(fisher = {{F}}))"])
def test_a_file_that_a_method_names_decides_the_name_of_its_runs(recipe, planned, tmp_path, name, text):
    file = tmp_path / name
    content = recipe.model_dump()
    content["methods"]["fisher"] = {"method": text.format(file), "search": {"lr": [0.01, 0.1]}}
    content["data"]["reds"]["values"] = {"F": str(file)}
    content["data"].pop("blues")
    recipe = Recipe.model_validate(content)
    assert "no file" in planned(recipe).left_out["fisher in column reds"]
    names = []
    for held in (b"one", b"two"):
        file.write_bytes(held)
        out = tmp_path / held.decode()
        plan = make_plan(recipe, Scope(tmp_path / "data"), out, writes=True)
        names.append({job.cell.row: job.name for job in plan.trials()})
        assert names[-1] == {job.cell.row: job.name for job in stored_plan(recipe, Scope(), out).trials()}
    assert names[0]["fisher"] != names[1]["fisher"]
    assert names[0]["plain"] == names[1]["plain"]
    planned(recipe)
    file.write_bytes(b"three")
    with pytest.raises(UsageError, match=r"file\..* is not what it was"):  # as with pictures and weights
        planned(recipe)


def test_nothing_to_run_is_said(recipe, planned, root):
    with pytest.raises(UsageError, match="nothing to run: no cell of the table is picked"):
        planned(recipe, only="greens")
    with pytest.raises(UsageError, match="nothing to run: segmentation"):
        planned(varied(recipe, data_only="segmentation"))
    (root / "reds").rename(root / "greens")
    with pytest.raises(UsageError, match="no column can be run here"):
        planned(recipe, only="reds")


def test_other_data_in_the_same_place_are_refused(recipe, planned, root):
    planned(recipe)
    (root / "reds" / "another").write_text("x")
    with pytest.raises(UsageError, match=r"data\.reds is not what it was"):
        planned(recipe)


def test_a_rehearsal_writes_nothing(recipe, root, tmp_path):
    plan = make_plan(recipe, Scope(root), tmp_path / "out", writes=False)
    assert len(list(plan.ready())) == 12
    assert not (tmp_path / "out").exists()


def test_a_table_needs_no_data(recipe, planned, tmp_path):
    there = {job.name for job in planned(recipe).trials()}
    assert {job.name for job in stored_plan(recipe, Scope(), tmp_path / "out").trials()} == there


def test_ten_thousand_runs_are_listed_in_two_seconds(recipe, root, tmp_path):
    content = recipe.model_dump()
    rows = {f"l2_{n}": {"method": f"l2(alpha={n / 10000 + 0.001})"} for n in range(1000)}
    content |= {"methods": {"plain": {"method": "plain"}, **rows}, "tuning": None, "seeds": 5}
    big = Recipe.model_validate(content)
    began = time.process_time()
    plan = make_plan(big, Scope(root), tmp_path / "out", writes=False)
    assert len({job.name for job in plan.ready()}) == 10010
    assert time.process_time() - began < 2  # of the processor: others may be at work beside the tests
