"""The page that compares methods: pairing, statistics in plain words, what is left out."""

import math
import re

import numpy as np
import pytest
from scipy import stats

from holdfast.core.errors import UsageError
from holdfast.report.comparison import write_comparison
from holdfast.report.groups import grouped

from .folders import Page

PLAIN = (0.70, 0.72, 0.74, 0.71, 0.73)


def runs(method, accuracies, seeds=None, **more):
    seeds = range(len(accuracies)) if seeds is None else seeds
    return [
        {"method": method, "seed": seed, "test.accuracy": accuracy, "test.nll": 1 - accuracy, "seconds": 3.0, **more}
        for seed, accuracy in zip(seeds, accuracies, strict=True)
    ]


def built(tmp_path, results, **options):
    path = write_comparison(results, tmp_path / "page.html", title="Flowers", **options)
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


def results():
    rng = np.random.default_rng(0)
    better = [value + 0.02 + 0.002 * rng.standard_normal() for value in PLAIN]
    same = [value + 0.01 * rng.standard_normal() for value in PLAIN]
    return runs("ptr(R=3)", better) + runs("plain", PLAIN) + runs("rifle", same)


def test_gains_are_paired_by_seed_whatever_the_order():
    found = grouped(results(), "plain", "test.accuracy")
    assert [group.name for group in found] == ["plain", "ptr(R=3)", "rifle"]
    shuffled = grouped(results()[::-1], "plain", "test.accuracy")
    by_name = {group.name: group for group in shuffled}
    for group in found[1:]:
        other = by_name[group.name]
        assert other.gain.mean == pytest.approx(group.gain.mean)
        assert other.gain.interval == pytest.approx(group.gain.interval)
        reference = stats.ttest_rel(group.values, PLAIN)
        assert group.gain.p == pytest.approx(reference.pvalue)
        assert group.gain.interval == pytest.approx(tuple(reference.confidence_interval()))
    assert found[0].gain is None
    assert found[0].interval == pytest.approx(stats.t.interval(0.95, 4, np.mean(PLAIN), stats.sem(PLAIN)))


def test_page_says_what_is_settled_and_what_is_not(tmp_path):
    _, page = built(tmp_path, results(), notes=["Strengths were chosen on validation."])
    assert "3 methods, 15 runs." in page.text
    assert "better than plain: ptr(R=3)" in page.text
    assert "Not told apart from plain by these runs: rifle." in page.text
    assert re.search(
        r"ptr\(R=3\) is better than plain: \+\d\.\d\d points \(95 % interval .*, 5 pairs of runs\)", page.text
    )
    assert "The interval includes zero: these runs do not settle" in page.text
    assert "72.0 ± 1.6" in page.text
    assert "Strengths were chosen on validation." in page.text
    assert [attrs["id"] for attrs in page.all("h2")] == ["table", "runs", "sure", "settings"]
    assert all(attrs["aria-label"] for attrs in page.all("svg"))


def test_lower_is_better_where_it_is(tmp_path):
    _, page = built(tmp_path, results(), metric="test.nll")
    assert "ptr(R=3) is better than plain: −" in page.text
    assert "Better lies to the left" in page.text


def test_a_hint_is_no_proof_among_many_comparisons(tmp_path):
    rng = np.random.default_rng(1)
    many = [row for n in range(6) for row in runs(f"m{n}", [v + 0.01 * rng.standard_normal() for v in PLAIN])]
    noise = np.array([0.006, 0.001, 0.009, 0.002, 0.007])
    one = runs("lucky", [value + more for value, more in zip(PLAIN, noise, strict=True)])
    assert 0.01 < stats.ttest_1samp(noise, 0).pvalue < 0.05
    alone, beside = (built(tmp_path, runs("plain", PLAIN) + one + extra)[1].text for extra in ([], many))
    assert "lucky is better than plain" in alone
    assert "Taken by itself better than plain, but not after Holm's correction: a hint, no proof." in beside


def test_runs_without_partner_or_figure_are_named(tmp_path):
    lost = runs("ptr", [0.75, math.nan, 0.74], seeds=[0, 1, 9]) + runs("far", [0.8, 0.8], seeds=[7, 8])
    _, page = built(tmp_path, runs("plain", PLAIN) + lost)
    assert "ptr: no test.accuracy from seed 1; left out of the means." in page.text
    assert "ptr: seed 9 has no run of plain to be paired with." in page.text
    assert "in one pair of runs, which cannot tell a gain from chance" in page.text
    assert "far shares no seed with plain: no gain can be given." in page.text


def test_a_method_that_failed_in_every_run_keeps_its_row(tmp_path):
    _, page = built(tmp_path, runs("plain", PLAIN) + runs("burnt", [math.nan] * 3))
    assert "burnt: no test.accuracy from seed 0, 1, 2" in page.text
    assert len([attrs for attrs in page.all("th") if attrs.get("scope") == "row"]) >= 2 + 8


def test_one_seed_settles_nothing(tmp_path):
    _, page = built(tmp_path, runs("plain", [0.7]) + runs("ptr", [0.8]))
    assert "Without two seeds shared with the baseline nothing is settled" in page.text


def test_the_baseline_alone_makes_a_page(tmp_path):
    _, page = built(tmp_path, runs("plain", PLAIN))
    assert "1 method, 5 runs." in page.text
    assert len(page.all("svg")) == 1
    assert "sure" not in [attrs["id"] for attrs in page.all("h2")]


def test_curves_are_averaged_over_the_runs_that_lasted(tmp_path):
    rows = runs("plain", [0.7, 0.7])
    rows[0]["curve"], rows[1]["curve"] = [0.2, 0.4, 0.6], [0.4, 0.6]
    assert grouped(rows, "plain", "test.accuracy")[0].mean_curve() == pytest.approx([0.3, 0.5, 0.6])
    _, page = built(tmp_path, rows)
    assert "plain ends at 60.0 %" in " ".join(attrs["aria-label"] for attrs in page.all("svg"))


def test_settings_name_the_methods_where_they_differ(tmp_path):
    rows = runs("plain", [0.7], settings={"lr": 0.01, "epochs": 30})
    rows += runs("ptr", [0.7], settings={"lr": 0.02, "epochs": 30, "seed": 0})
    _, page = built(tmp_path, rows)
    assert "0.01 (plain); 0.02 (ptr)" in page.text
    assert "epochs 30" in page.text


def test_hostile_names_are_text(tmp_path):
    text, page = built(tmp_path, runs("plain", PLAIN) + runs("<script>alert(1)</script>", PLAIN))
    assert text.count("<script") == 1
    assert "<script>alert(1)</script>" in page.text


def test_results_that_cannot_be_compared_are_refused(tmp_path):
    with pytest.raises(UsageError, match="baseline 'plain', found runs of nothing"):
        built(tmp_path, [])
    with pytest.raises(UsageError, match="baseline 'plain', found runs of ptr"):
        built(tmp_path, runs("ptr", PLAIN))
    with pytest.raises(UsageError, match="found two of 'plain' with 0"):
        built(tmp_path, runs("plain", [0.7, 0.8], seeds=[0, 0]))
    with pytest.raises(UsageError, match="found it in none"):
        built(tmp_path, runs("plain", PLAIN), metric="test.unheard_of")


def test_a_folder_gets_report_html(tmp_path):
    assert write_comparison(runs("plain", PLAIN), tmp_path, title="x") == tmp_path / "report.html"


def test_a_hundred_runs_make_a_small_page(tmp_path):
    rng = np.random.default_rng(0)
    curve = [0.1 + 0.02 * epoch for epoch in range(30)]
    rows = [row for n in range(10) for row in runs(f"method{n}", rng.uniform(0.6, 0.8, 10), curve=curve)]
    text, page = built(tmp_path, rows, baseline="method0")
    assert len(text) < 500_000
    assert "The 100 runs" in page.text
