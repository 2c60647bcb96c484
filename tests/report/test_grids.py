"""A bench on a page: its own table, how far it is, what was asked of it in parts."""

import re

import pytest

from holdfast.bench.asked import asked
from holdfast.bench.plan import stored_plan
from holdfast.bench.table import make_table
from holdfast.core.errors import HoldfastError
from holdfast.report.document import write_report

from .folders import Page
from .grids import make_grid, recipe

MINUS = "\N{MINUS SIGN}"


def headings(page):
    return [attrs["id"] for attrs in page.all("h2")]


def built(folder):
    return Page(write_report(folder).read_text(encoding="utf-8"))


def test_a_grid_shows_the_figures_of_the_bench(tmp_path):
    printed = [{"row": "ptr", "column": "reds", "value": 72.0, "std": 0.5}]
    grid = make_grid(tmp_path, recipe(paper={"key": "x", "table": "1"}, published=printed))
    page = built(grid)
    (one,) = asked(grid)
    table = make_table(stored_plan(one.recipe, one.scope, grid))
    for entry in table.entries:
        assert f"{entry.mean:.2f} ± {entry.std:.2f}" in page.text
        if entry.gain is not None:
            for value in (entry.gain.mean, entry.gain.low, entry.gain.high):
                assert f"{value:+.2f}".replace("-", MINUS) in page.text
    assert "72.00 ± 0.50" in page.text
    assert "3 methods on 2 columns of data and networks: 30 of 30 runs are done." in page.text
    assert "Beyond chance, with 4 comparisons allowed for: better than plain: l2_sp (reds), l2_sp (blues)." in page.text
    assert "Not told apart from plain by these runs: ptr (reds), ptr (blues)." in page.text
    assert headings(page) == ["overview", "0-column", "1-column", "settings"]
    assert "Holm's correction takes the 4 comparisons of the whole table together" in page.text


def test_the_curves_of_a_grid_are_those_of_its_runs(tmp_path):
    grid = make_grid(tmp_path, recipe(columns=("reds",), seeds=2))
    page = built(grid)
    labels = " ".join(attrs["aria-label"] for attrs in page.all("svg"))
    assert "plain ends at 70.5 %" in labels  # 70 and 71 %
    assert "Validation accuracy after each epoch, mean of 2 runs per method." in page.text


def test_an_unfinished_grid_says_how_far_it_is_and_marks_its_cells(tmp_path):
    asked_for = recipe(columns=("reds",))
    make_grid(tmp_path, asked_for, seeds=3)

    def fit(settings):
        raise HoldfastError("the disk is on fire")

    grid = make_grid(tmp_path, asked_for, fit=fit)
    page = built(grid)
    assert "9 of 15 runs are done; cells with fewer runs than were asked for are marked *." in page.text
    assert page.text.count("3 of 5*") == 3
    assert "the disk is on fire" in page.text


def test_parts_asked_for_one_after_the_other_make_one_table(tmp_path):
    make_grid(tmp_path, only="plain", seeds=2)
    grid = make_grid(tmp_path, only="ptr and reds")
    (one,) = asked(grid)
    assert one.scope.only == "(plain) or (ptr and reds)"
    page = built(grid)
    assert "2 methods on 2 columns of data and networks: 9 of 15 runs" in page.text


def test_a_grid_that_does_not_say_its_recipe_is_shown_by_its_runs(tmp_path):
    grid = make_grid(tmp_path)
    for file in (grid / "asked").iterdir():
        file.unlink()
    page = built(grid)
    assert "does not say which recipe it was made with" in page.text
    assert "3 methods, 15 runs." in page.text


def test_a_damaged_result_of_a_grid_is_named(tmp_path):
    grid = make_grid(tmp_path, recipe(columns=("reds",), seeds=1))
    file = sorted((grid / "runs").iterdir())[0]
    file.write_text("{torn", encoding="utf-8")
    with pytest.raises(HoldfastError, match=re.escape(str(file))):
        write_report(grid)
