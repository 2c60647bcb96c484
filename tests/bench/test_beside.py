"""Figures beside the metric, compared with SciPy's paired test and Holm's correction done by hand."""

import json
import math
from dataclasses import replace

import pytest
from scipy import stats

from holdfast.bench.beside import Beside, beside, compared, corrected
from holdfast.bench.formats import FORMATS
from holdfast.bench.statistics import holm

from .conftest import figures

PLAIN = {0: 1.0, 1: 1.4, 2: 0.9, 3: 1.2}
BETTER = {0: 0.7, 1: 1.2, 2: 0.5, 3: 0.8}


def test_mean_and_spread_of_what_was_measured():
    figures = {0: {"test.nll": 1.0, "val.nll": 9.0, "seconds": 3.0}, 4: {"test.nll": 2.0, "seconds": math.nan}}
    found = beside(figures, "test")
    assert list(found) == ["nll", "seconds"]
    assert (found["nll"].mean, found["nll"].std) == pytest.approx((1.5, math.sqrt(0.5)))
    assert found["seconds"].values == {0: 3.0}
    assert found["seconds"].std is None


def test_differences_are_paired_by_seed():
    shuffled = {seed: BETTER[seed] for seed in (3, 1, 2, 0)} | {9: 100.0}  # seed 9 has no partner
    found = compared({"nll": Beside(shuffled)}, {"nll": Beside(PLAIN)})["nll"].difference
    theirs = stats.ttest_rel(list(BETTER.values()), list(PLAIN.values()))
    interval = theirs.confidence_interval(0.95)
    assert (found.mean, found.low, found.high, found.p, found.pairs) == pytest.approx(
        (-0.325, interval.low, interval.high, theirs.pvalue, 4)
    )


def test_seconds_and_single_pairs_are_not_compared():
    cell = {"seconds": Beside(BETTER), "ece": Beside({0: 0.1, 7: 0.2})}
    found = compared(cell, {"seconds": Beside(PLAIN), "ece": Beside({0: 0.2, 8: 0.1})})
    assert found == cell


def test_each_figure_is_corrected_over_all_its_differences():
    worse = {seed: value + 0.01 * seed for seed, value in PLAIN.items()}
    base = {"nll": Beside(PLAIN), "ece": Beside(PLAIN)}
    cells = [
        base,
        compared({"nll": Beside(BETTER), "ece": Beside(BETTER)}, base),
        compared({"nll": Beside(worse)}, base),
    ]
    found = corrected(cells)
    assert found[0] == base
    raw = [cells[place]["nll"].difference.p for place in (1, 2)]
    assert [found[place]["nll"].p for place in (1, 2)] == pytest.approx(holm(raw))
    assert found[1]["nll"].p == pytest.approx(2 * raw[0])
    assert found[1]["ece"].p == pytest.approx(raw[0])  # alone among its kind


def test_a_difference_beyond_chance_has_an_arrow():
    gap = compared({"nll": Beside(BETTER)}, {"nll": Beside(PLAIN)})["nll"]
    assert gap.settled == 0  # nothing is told before the correction
    assert (replace(gap, p=0.049).settled, replace(gap, p=0.05).settled) == (-1, 0)
    worse = compared({"nll": Beside(PLAIN)}, {"nll": Beside(BETTER)})["nll"]
    assert replace(worse, p=0.001).arrow == " \N{UPWARDS ARROW}"


def test_the_table_tells_them_to_programs(recipe, table):
    nll = {"plain": PLAIN, "ptr": BETTER, "l2": PLAIN}

    def fit(settings):
        accuracy = {"val.accuracy": 0.5, "val.nll": 1.0}
        if not settings.measure_test:
            return accuracy
        return accuracy | {"test.accuracy": 0.6, "test.nll": nll[settings.method.partition("(")[0]][settings.seed]}

    cells = {(cell["row"], cell["column"]): cell for cell in json.loads(FORMATS["json"](table(recipe, fit)))["cells"]}
    theirs = stats.ttest_rel([BETTER[seed] for seed in range(3)], [PLAIN[seed] for seed in range(3)])
    found = cells["ptr", "reds"]
    assert found["nll_difference"] == pytest.approx(-0.3)
    assert [found["nll_low"], found["nll_high"]] == pytest.approx(list(theirs.confidence_interval(0.95)))
    assert found["nll_p_holm"] == pytest.approx(4 * theirs.pvalue)  # over both rows in both columns
    assert cells["plain", "reds"]["nll_difference"] is None
    assert found["ece_difference"] is None


def test_the_table_has_arrows_and_says_what_they_mean(recipe, table):
    def fit(settings):
        nll = 1.0 + 0.01 * settings.seed - 0.5 * (settings.method == "ptr(R=3)") + 0.001 * settings.seed**2
        return figures(settings) | ({"test.nll": nll} if settings.measure_test else {})

    made = table(recipe, fit, seeds=3)
    lines = FORMATS["md"](made).splitlines()
    assert [line.count("\N{DOWNWARDS ARROW}") for line in lines if line.startswith("| ") and "ptr(R=3)" in line] == [
        1,
        1,
    ]
    assert sum("\N{DOWNWARDS ARROW}" in line for line in lines) == 3  # two cells and a note
    assert FORMATS["latex"](made).count(r"$\downarrow$") == 2
