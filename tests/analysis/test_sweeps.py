"""Sweeps: their recipes, and what is shown of stored results."""

import json
import shutil

import pytest
import yaml

from holdfast.analysis.sweeps import alpha_beta_grid, freeze_sweep, rmt_sweep
from holdfast.analysis.sweeps.sweep import read_sweep
from holdfast.bench.catalogue import load
from holdfast.bench.claims import Claims
from holdfast.bench.grid import Cell, Scope
from holdfast.bench.plan import make_plan
from holdfast.bench.statistics import paired_difference
from holdfast.bench.work import Worker
from holdfast.core.compose import compose
from holdfast.core.errors import DataError, UsageError
from holdfast.methods.l2_sp import L2SP
from holdfast.methods.ptr import PtR


def methods_of(settings, kind):
    return [method for method in compose(settings.method).expression if isinstance(method, kind)]


def figures(accuracy, settings):
    found = {"val.accuracy": accuracy - 0.1, "val.nll": 1 - accuracy, "versions.torch": "2"}
    return {**found, **({"test.accuracy": accuracy} if settings.measure_test else {})}


@pytest.fixture
def stored(tmp_path):
    """Does a recipe's runs by a formula for the accuracy of their settings; returns the folder of results."""
    (tmp_path / "data" / "flowers17").mkdir(parents=True)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "mobilenet_v2-imagenet1k.safetensors").write_bytes(b"weights")

    def call(recipe, accuracy, **scope):
        out = tmp_path / "results"
        plan = make_plan(load(recipe)[1], Scope(tmp_path, **scope), out, writes=True)
        with Claims(plan.store.claims) as claims:
            Worker(plan, claims, fit=lambda settings: figures(accuracy(settings), settings)).work()
        return out

    return call


# -- frozen layers ---------------------------------------------------------------------------------------
def frozen(settings):
    return next((m.layers for m in compose(settings.method).expression if m.stem == "freeze"), 0)


def by_depth(settings):
    """Plain gains a tenth of a point per layer up to the tenth; L2-SP loses; seeds differ."""
    held, k = "l2_sp" in settings.method, frozen(settings)
    course = -0.002 * k if held else 0.001 * min(k, 10)
    return 0.7 + 0.02 * held + course + 0.001 * settings.seed * (1 + 0.1 * (k == 10))


def test_freeze_sweep_shows_each_method_by_depth(stored):
    found = freeze_sweep.freeze_sweep(read_sweep(stored("freeze-sweep", by_depth), "freeze-sweep"))
    assert list(found.data["lines"]) == ["plain", "l2_sp"]
    line = found.data["lines"]["plain"]
    assert [point["layers"] for point in line] == [0, 1, 4, 7, 10, 13, 16, 19]
    assert [point["mean"] for point in line[:2]] == pytest.approx([70.2, 70.3])  # seeds 0 to 4: 0.2 on average
    ten = next(point for point in line if point["layers"] == 10)
    expected = paired_difference([71 + 0.11 * seed for seed in range(5)], [70 + 0.1 * seed for seed in range(5)])
    assert (ten["gain"]["mean"], ten["gain"]["low"]) == pytest.approx((expected.mean, expected.low))
    assert "plain: with nothing frozen 70.2 %" in found.text
    assert "highest with 10 layers frozen" in found.text
    assert "1.0 points over plain" in found.text
    assert "correction: beyond chance" in found.text
    assert "l2_sp: with nothing frozen 72.2 %" in found.text
    assert "no number of frozen layers has a higher mean" in found.text
    assert "5 runs each" in found.figures[0].caption


def test_unfinished_results_say_so(stored, tmp_path):
    sweep = read_sweep(stored("freeze-sweep", by_depth, seeds=2, only="plain*"), "freeze-sweep")
    found = freeze_sweep.freeze_sweep(sweep)
    assert list(found.data["lines"]) == ["plain"]
    assert any("plain_4 in flowers17 2 of 5" in note for note in found.notes)


def test_one_run_of_each_has_no_interval(stored):
    out = stored("freeze-sweep", by_depth, seeds=1)
    found = freeze_sweep.freeze_sweep(read_sweep(out, "freeze-sweep", seeds=1))
    assert found.data["lines"]["plain"][0]["interval"] is None
    assert "(1 run)" in found.text
    assert "1 run each" in found.figures[0].caption


def test_results_made_small_are_read_as_such(stored):
    out = stored("freeze-sweep", by_depth, mini=True)
    with pytest.raises(DataError, match=r"no final run of freeze-sweep at full scale.*--scale mini"):
        read_sweep(out, "freeze-sweep")
    found = freeze_sweep.freeze_sweep(read_sweep(out, "freeze-sweep", mini=True))
    assert found.inputs["seeds_per_cell"] == [2, 2]
    assert any("--scale mini" in note for note in found.notes)


# -- α and β ---------------------------------------------------------------------------------------------
def by_strength(settings):
    (method,) = methods_of(settings, L2SP)
    return 0.6 + 0.1 * method.alpha + 0.05 * (method.beta == 0.01) + 0.001 * settings.seed


def test_alpha_beta_grid_has_every_mean_and_says_what_the_head_gains(stored):
    found = alpha_beta_grid.alpha_beta_grid(read_sweep(stored("alpha-beta-grid", by_strength), "alpha-beta-grid"))
    means = {(point["alpha"], point["beta"]): point["mean"] for point in found.data["points"]}
    for alpha in (0, 0.001, 0.01, 0.1, 1):
        for beta in (0, 0.001, 0.01, 0.1, 1):
            assert means[alpha, beta] == pytest.approx(60.2 + 10 * alpha + 5 * (beta == 0.01))
    assert "highest mean is at α = 1, β = 0.01: 75.2 %" in found.text
    head = found.data["penalised_head"]
    assert (head["alpha"], head["beta"], head["pairs"]) == (1, 0.01, 5)
    assert head["gain"] == pytest.approx(5)
    svg = found.figures[0].svg.decode()
    for value in ("75.2", "70.2", "65.2", "60.2"):
        assert value in svg


def test_a_cell_without_a_run_is_a_gap(stored):
    out = stored("alpha-beta-grid", by_strength, only="not (alpha_0.1 and beta_0.1)")
    found = alpha_beta_grid.alpha_beta_grid(read_sweep(out, "alpha-beta-grid"))
    assert len(found.data["points"]) == 24
    assert "no run" in found.figures[0].svg.decode()
    assert "Not run yet in beta_0.1: alpha_0.1." in found.notes


# -- R, m and T ------------------------------------------------------------------------------------------
def by_ptr(settings):
    found = methods_of(settings, PtR)
    if not found:
        return 0.65 + 0.001 * settings.seed
    (m,) = found
    return 0.7 - 0.001 * abs(m.R - 3) - 0.002 * abs(m.m - 1) - 0.003 * (m.T != 1) + 0.001 * settings.seed


def test_rmt_sweep_has_a_line_through_the_centre_for_each_parameter(stored):
    found = rmt_sweep.rmt_sweep(read_sweep(stored("rmt-sweep", by_ptr), "rmt-sweep"))
    assert found.data["centre"] == {"R": 3, "m": 1, "T": 1}
    values = {name: [point[name] for point in line] for name, line in found.data["lines"].items()}
    assert values == {"R": [1, 2, 3, 5, 10, 30], "m": [0, 0.3, 1, 3, 10], "T": [0.1, 0.3, 1, 2, "inf"]}
    assert found.data["lines"]["R"][-1]["mean"] == pytest.approx(70.2 - 2.7)
    assert found.data["plain"]["mean"] == pytest.approx(65.2)
    assert "PtR at R = 3, m = 1, T = 1: 70.2 %" in found.text
    assert "Over T from 0.1 to ∞ the means range from 69.9 % at 0.1 to 70.2 % at 1." in found.text
    assert not any("left out" in note for note in found.notes)
    json.loads(found.as_json())  # infinity has a form that JSON knows


def test_rows_on_no_line_are_named(stored, tmp_path):
    content = load("rmt-sweep")[1].model_dump(mode="json", exclude_defaults=True)
    content["methods"]["far"] = {"method": "ptr(R=30, m=10, T=1)"}
    content["methods"]["other"] = {"method": "l2"}
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(yaml.safe_dump(content, sort_keys=False))
    found = rmt_sweep.rmt_sweep(read_sweep(stored(recipe, by_ptr), str(recipe)))
    assert any("left out: other, far" in note for note in found.notes)


# -- which comparison ------------------------------------------------------------------------------------
def test_a_folder_says_what_it_holds(stored):
    out = stored("freeze-sweep", by_depth, seeds=2, only="plain*")
    sweep = read_sweep(out)
    assert sweep.recipe == load("freeze-sweep")[1]
    assert sweep.inputs["seeds_per_cell"] == [2, 2]
    assert not any("Not all runs are finished" in note for note in sweep.notes())  # no more was asked for
    assert {point.entry.row for point in read_sweep(out, only="plain_4").points} == {"plain_4"}


def test_a_folder_that_holds_two_comparisons_or_says_nothing_is_asked_about(stored, tmp_path):
    out = stored("freeze-sweep", by_depth, seeds=1, only="plain*")
    (one,) = (out / "asked").iterdir()
    content = json.loads(one.read_text())
    content["recipe"]["title"] = "Another"
    (out / "asked" / "other.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=r"found 'Another', 'Freezing .*': give the recipe with --recipe"):
        read_sweep(out)
    shutil.rmtree(out / "asked")
    with pytest.raises(UsageError, match="found no record: give the recipe with --recipe"):
        read_sweep(out)


def test_a_folder_made_small_is_read_so(stored):
    out = stored("freeze-sweep", by_depth, mini=True, only="plain*")
    assert read_sweep(out).inputs["scale"] == "mini"
    with pytest.raises(UsageError, match="found no record"):
        read_sweep(out, mini=False)


# -- mistakes --------------------------------------------------------------------------------------------
def test_results_of_another_kind_are_refused(stored, tmp_path):
    sweep = read_sweep(stored("rmt-sweep", by_ptr), "rmt-sweep")
    with pytest.raises(UsageError, match="no row of rmt-sweep has one l2_sp"):
        alpha_beta_grid.alpha_beta_grid(sweep)
    with pytest.raises(UsageError, match="are the same point of the sweep"):
        alpha_beta_grid.alpha_beta_grid(read_sweep(stored("freeze-sweep", by_depth), "freeze-sweep"))


def test_two_columns_are_too_many_for_a_line(stored, tmp_path):
    content = load("rmt-sweep")[1].model_dump(mode="json", exclude_defaults=True)
    content["data"]["again"] = {"data": "data/flowers17", "samples_per_class": 4}
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(yaml.safe_dump(content, sort_keys=False))
    out = stored(recipe, by_ptr)
    with pytest.raises(UsageError, match="found flowers17, again: choose one with --only"):
        rmt_sweep.rmt_sweep(read_sweep(out, str(recipe)))
    found = rmt_sweep.rmt_sweep(read_sweep(out, str(recipe), only="again"))
    assert found.data["column"] == "again"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("freeze-sweep", "nowhere"), "nowhere does not exist; expected what 'holdfast bench run RECIPE"),
        (("rmt-sweep", "."), "has no runs in it"),
        (("rmt-sweep", ".", "--scale", "tiny"), "expected --scale full or mini, got 'tiny'"),
        (("alpha-beta-grid", ".", "--recipe", "alpha-beta-gird"), "did you mean 'alpha-beta-grid'"),
    ],
)
def test_mistakes_are_one_line(holdfast, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    done = holdfast("analyse", *words)
    assert done.code == 2
    assert said in done.error


RECIPE = """
title: Frozen or not
data: {photos: {data: photos, samples_per_class: 4}}
models: {tiny: {model: "timm:test_resnet"}}
methods:
  plain: {method: plain}
  plain_1: {method: freeze(layers=1)}
seeds: 2
settings: {pretrained: false, image_size: 32, epochs: 1, batch_size: 6, bn: train}
"""


def test_from_a_recipe_to_its_picture(holdfast, photos, tmp_path):
    """A real run of each row, and the command on what they leave."""
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(RECIPE)
    scope = Scope(photos.parent, mini=True)
    plan = make_plan(load(recipe)[1], scope, tmp_path / "results", writes=True)
    with Claims(plan.store.claims) as claims:
        Worker(plan, claims).work()
    words = ("freeze-sweep", tmp_path / "results", "--recipe", recipe, "--scale", "mini", "--out", tmp_path / "out")
    done = holdfast("analyse", *words, "--json")
    assert done.code == 0, done.err
    (line,) = json.loads(done.out)["data"]["lines"].values()
    stored = plan.result(plan.grid.job("run", Cell("plain_1", "photos"), {}, 1))
    assert line[1]["values"]["1"] == pytest.approx(100 * stored["figures"]["test.accuracy"])
    assert (tmp_path / "out" / "freeze-sweep.png").is_file()
