import csv
import io
import json

import pytest

from holdfast.bench.formats import FORMATS
from holdfast.bench.statistics import holm, paired_difference
from holdfast.bench.table import make_table

from .conftest import figures, noisy, varied

PAPER = {"key": "x", "table": "1"}
PUBLISHED = [
    {"row": "plain", "column": "reds", "value": 70.0, "std": 0.5},
    {"row": "ptr", "column": "reds", "value": 72.0, "baseline": 71.5, "gain": 0.5, "origin": "quoted"},
    {"row": "l2", "column": "reds", "value": 70.1, "doubtful": True, "note": "smudged"},
]


def of(table, row, column="reds"):
    return next(e for e in table.entries if (e.row, e.column) == (row, column))


def test_cells_come_column_by_column_in_the_order_of_the_rows(recipe, table):
    places = [(e.row, e.column) for e in table(recipe).entries]
    assert places == [(row, column) for column in ("reds", "blues") for row in ("plain", "ptr", "l2")]


def test_mean_spread_and_paired_gain(recipe, table):
    found = table(recipe)
    plain, ptr = of(found, "plain"), of(found, "ptr")
    assert plain.values == pytest.approx({0: 70.0, 1: 70.1, 2: 70.2})
    assert (plain.mean, plain.std) == pytest.approx((70.1, 0.1))
    assert plain.gain is None
    assert ptr.method == "ptr(R=3)"
    expected = paired_difference([73.2, 73.1, 73.4], [70.0, 70.1, 70.2])
    assert (ptr.gain.mean, ptr.gain.low, ptr.gain.high, ptr.gain.p) == pytest.approx(
        (expected.mean, expected.low, expected.high, expected.p)
    )
    assert ptr.error_reduction == pytest.approx(100 * expected.mean / (100 - 70.1))
    assert ptr.trials == 2
    assert ptr.beside == {}  # what was not measured is left out


def test_likelihood_calibration_and_time_stand_beside_the_accuracy(recipe, table):
    def fit(settings):
        more = {"test.nll": 1.0 + settings.seed, "test.ece": 0.1, "seconds": 2.0, "val.nll": 9.0}
        return noisy(settings) | (more if settings.measure_test else {})

    found = table(recipe, fit=fit)
    means = {name: (each.mean, each.std) for name, each in of(found, "ptr").beside.items()}
    assert means == {"nll": (2.0, 1.0), "ece": pytest.approx((0.1, 0.0)), "seconds": (2.0, 0.0)}
    line = next(line for line in FORMATS["md"](found).splitlines() if "ptr(R=3)" in line)
    assert "| 2.000 | 10.0 | 2 |" in line
    assert json.loads(FORMATS["json"](found))["cells"][0]["nll"] == 2.0


def test_probabilities_are_corrected_over_the_whole_table(recipe, table):
    entries = [e for e in table(recipe).entries if e.gain is not None]
    assert len(entries) == 4
    assert [e.p for e in entries] == pytest.approx(holm([e.gain.p for e in entries]))
    assert any(e.p > e.gain.p for e in entries)


def test_published_figures_stand_beside_ours(recipe, table):
    found = table(varied(recipe, paper=PAPER, published=PUBLISHED))
    assert of(found, "plain").difference == pytest.approx(70.1 - 70.0)
    quoted = of(found, "ptr")  # another paper's baseline: its gain is compared
    assert quoted.difference == pytest.approx(quoted.gain.mean - 0.5)
    assert any("smudged" in note for note in found.notes)
    assert of(found, "plain", "blues").difference is None


def test_a_quoted_level_without_a_gain_is_not_compared(recipe, table):
    quoted = [{"row": "ptr", "column": "reds", "value": 72.0, "origin": "quoted"}]
    assert of(table(varied(recipe, paper=PAPER, published=quoted)), "ptr").difference is None


def test_another_metric_is_shown_and_not_compared(recipe, table):
    other = [{"row": "ptr", "column": "reds", "value": 72.0, "gain": 1.0, "metric": "mean_class_accuracy"}]
    found = table(varied(recipe, paper=PAPER, published=other))
    assert of(found, "ptr").difference is None
    assert "72.00, mean class accuracy, gain +1.00" in FORMATS["md"](found)
    assert of(table(varied(recipe, paper=PAPER, published=PUBLISHED)), "plain").difference is not None


def test_a_cell_with_fewer_runs_than_asked_is_marked(recipe, table, planned):
    table(recipe)
    found = make_table(planned(recipe, seeds=5))
    assert not of(found, "ptr").complete
    assert of(found, "ptr").gain.pairs == 3
    text = FORMATS["md"](found)
    assert "3 of 5*" in text
    assert "* fewer runs than were asked for." in text


def test_before_any_run_there_are_printed_figures_alone(recipe, planned):
    found = make_table(planned(varied(recipe, paper=PAPER, published=PUBLISHED)))
    assert of(found, "plain").mean is None
    assert "70.00 ± 0.50" in FORMATS["md"](found)


def test_rows_that_cannot_be_run_show_what_is_printed(recipe, planned):
    content = recipe.model_dump()
    content["methods"]["lost"] = {"method": None, "note": "no code"}
    lost = [{"row": "lost", "column": "reds", "value": 60.0}]
    found = make_table(planned(varied(recipe, methods=content["methods"], paper=PAPER, published=lost)))
    assert of(found, "lost").asked == 0
    assert [e.column for e in found.entries if e.row == "lost"] == ["reds"]


def test_failures_and_mixed_versions_and_missing_test_parts_are_said(recipe, table):
    def fit(settings):
        if settings.seed == 2 and settings.measure_test:
            raise ZeroDivisionError
        found = figures(settings)
        found["versions.torch"] = str(settings.seed)
        return {name: value for name, value in found.items() if not name.startswith("test.")}

    found = table(recipe, fit)
    said = " ".join(found.notes)
    assert "6 of the runs failed" in said
    assert "failed: ptr, reds: ZeroDivisionError: no message" in said
    assert "different versions: torch 0 and 1" in said
    assert "no test part" in said
    assert of(found, "plain").mean == pytest.approx(60.05)


def test_a_cell_that_could_not_be_tuned_is_said(recipe, table):
    def fit(settings):
        if settings.method == "l2":
            raise ZeroDivisionError
        return figures(settings)

    found = table(recipe, fit)
    assert of(found, "l2").values == {}
    assert "l2, reds: no trial of its tuning came through." in found.notes


def test_a_small_scale_is_said_to_be_one(recipe, table):
    assert "--scale mini" in table(recipe, mini=True).notes[0]


def test_json_holds_everything_and_csv_the_same(recipe, table):
    found = table(varied(recipe, paper=PAPER, published=PUBLISHED))
    cells = json.loads(FORMATS["json"](found))["cells"]
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](found))))
    assert len(cells) == len(rows) == 6
    for cell, row in zip(cells, rows, strict=True):
        assert row["mean"] == str(cell["mean"])
        assert json.loads(row["values"]) == cell["values"]
    ptr = cells[1]
    assert (ptr["row"], ptr["runs"], ptr["asked"], ptr["pairs"]) == ("ptr", 3, 3, 3)
    assert (ptr["published"], ptr["published_gain"], ptr["published_origin"]) == (72.0, 0.5, "quoted")


def test_latex_is_escaped(recipe, table):
    content = recipe.model_dump()
    content["methods"]["plain"]["label"] = "50 % of L² & so_on"
    text = FORMATS["latex"](table(varied(recipe, methods=content["methods"])))
    assert r"50 \% of L$^2$ \& so\_on" in text
    assert r"$\pm$" in text
    assert text.count(r" \\") == 7
    assert text.count("&") - text.count(r"\&") == 7 * 7  # eight columns: nothing is published or measured beside


def test_columns_that_nothing_stands_in_are_left_out(recipe, table):
    assert "| published |" not in FORMATS["md"](table(recipe))
    assert "| published | difference |" in FORMATS["md"](table(varied(recipe, paper=PAPER, published=PUBLISHED)))


def test_markdown_has_as_many_cells_in_every_line(recipe, table):
    content = recipe.model_dump()
    content["methods"]["plain"]["label"] = "a|b"
    lines = [
        line for line in FORMATS["md"](table(varied(recipe, methods=content["methods"]))).splitlines() if "| " in line
    ]
    assert len(lines) == 8
    assert {line.replace("\\|", "").count("|") for line in lines} == {9}
