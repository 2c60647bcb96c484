"""One page of any folder: what it is is found out, what the bench computed is shown, what cannot be read is named."""

import json
import time

import numpy as np
import pytest
import yaml

from holdfast.analysis.drawing import drawn
from holdfast.analysis.finding import Finding
from holdfast.core.errors import DataError, HoldfastError
from holdfast.report.document import write_report
from holdfast.report.found import look_into
from holdfast.report.run import write_run_report
from holdfast.report.svg import chart

from .folders import Page, make_pictures, make_run
from .grids import make_grid, recipe


def built(folder, out=None):
    text = write_report(folder, out).read_text(encoding="utf-8")
    page = Page(text)
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert all(attrs["aria-label"] for attrs in page.all("svg"))
    assert text.count("<script") == 1
    return text, page


def headings(page, level=2):
    return [attrs["id"] for attrs in page.all(f"h{level}")]


def add_finding(folder, name="example"):
    with chart(3, 2) as (figure, axes):
        axes.plot([0, 1], [0, 1])
        picture = drawn(figure, f"{name}-line", label="A line.", caption="One line.")
    Finding(name, f"About {name}", "It rises.", {}, [picture], {"runs": 1}).write(folder)


def side_by_side(folder, methods=("plain", "ptr(R=3)"), seeds=3, **options):
    for method in methods:
        for seed in range(seeds):
            make_run(folder / f"{method.partition('(')[0]}-{seed}", method=method, seed=seed, data="flowers", **options)
    return folder


def test_one_run_gives_the_page_of_the_run(tmp_path):
    make_run(tmp_path / "run")
    text, _ = built(tmp_path / "run")
    assert (tmp_path / "run" / "report.html").read_text(encoding="utf-8") == text
    assert write_run_report(tmp_path / "run").read_text(encoding="utf-8") == text


def test_a_run_and_its_analyses_share_a_page_with_the_settings_last(tmp_path):
    make_run(tmp_path / "run")
    add_finding(tmp_path / "run" / "analysis" / "example")
    _, page = built(tmp_path / "run")
    assert headings(page) == ["summary", "curves", "confusion", "mistakes", "calibration", "analyses", "settings"]
    assert "About example" in page.text


def test_runs_side_by_side_are_compared_and_shown_once_per_method(tmp_path):
    _, page = built(side_by_side(tmp_path))
    assert headings(page) == ["table", "runs", "sure", "curves", "answers", "settings"]
    assert "2 methods, 6 runs." in page.text
    assert "plain: confusion, calibration, mistakes (72 test predictions of 3 runs)" in page.text
    assert "wrong in 3 of 3 runs" in page.text
    matrices = [attrs for attrs in page.all("svg") if attrs["aria-label"].startswith("Confusion matrix")]
    assert len(matrices) == 2
    assert "plain-0" in page.text  # the folder of each run stands in the table of all runs


def test_runs_on_other_data_are_not_averaged_in(tmp_path):
    side_by_side(tmp_path / "a")
    for seed in range(2):
        make_run(tmp_path / "b" / str(seed), method="plain", seed=seed, data="clothing")
    _, page = built(tmp_path)
    assert headings(page)[0] == "summary"
    assert "timm:test_resnet on flowers" in page.text
    assert "timm:test_resnet on clothing" in page.text
    assert "8 runs." in page.text


def test_runs_alone_with_their_data_get_a_chapter_each_and_a_table_if_many(tmp_path):
    for number in range(7):
        make_run(tmp_path / str(number), data=f"data{number}")
        if number == 1:
            _, page = built(tmp_path)
            assert len([a for a in page.all("svg") if a["aria-label"].startswith("Confusion")]) == 2
    _, page = built(tmp_path)
    assert page.all("svg") == []
    assert "7 runs, no two of which share data and network" in page.text


def test_methods_without_plain_have_no_gain_and_the_page_says_so(tmp_path):
    _, page = built(side_by_side(tmp_path, methods=("l2_sp(alpha=0.1)", "ptr(R=3)")))
    assert "There is no run of 'plain'" in page.text
    assert "sure" not in headings(page)


def test_settings_that_differ_beside_the_method_are_named(tmp_path):
    side_by_side(tmp_path)
    for seed in range(3):
        file = tmp_path / f"ptr-{seed}" / "settings.yaml"
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        file.write_text(yaml.safe_dump({**content, "lr": 0.5}), encoding="utf-8")
    _, page = built(tmp_path)
    assert "Beside the method, runs differ in lr:" in page.text


def demo(folder, seeds=4):
    for name in ("chosen-rate", "bold-rate"):
        (folder / name).mkdir(parents=True)
        for step, method in enumerate(("plain", "ptr")):
            for seed in range(seeds):
                content = {
                    "method": method,
                    "seed": seed,
                    "test.accuracy": 0.7 + 0.01 * seed + 0.02 * step,
                    "seconds": 1,
                }
                settings = {"name": method, "method": "", "lr": 0.01}
                content |= {"settings": settings, "versions": {"torch": "2.6.0"}}
                (folder / name / f"{method}-{seed}.json").write_text(json.dumps(content), encoding="utf-8")
    titles = {"chosen-rate": {"title": "Rate chosen", "notes": ["Digits."]}, "bold-rate": {"title": "Ten times"}}
    (folder / "summary.json").write_text(json.dumps({"comparisons": titles}), encoding="utf-8")


def test_a_demo_folder_has_its_titles_and_notes(tmp_path):
    demo(tmp_path)
    _, page = built(tmp_path)
    assert headings(page) == ["summary", "c0-results", "c1-results", "settings"]
    for words in ("Rate chosen", "Ten times", "Digits.", "2 methods, 8 runs.", "torch 2.6.0"):
        assert words in page.text
    assert page.text.index("Rate chosen") < page.text.index("Ten times")


def test_a_mixture_has_everything(tmp_path):
    make_grid(tmp_path / "bench")
    demo(tmp_path / "demo")
    side_by_side(tmp_path / "runs")
    add_finding(tmp_path / "analysis", "one")
    add_finding(tmp_path / "deep" / "down", "two")
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "settings.yaml").write_text("data: x\n", encoding="utf-8")
    (tmp_path / "notes.json").write_text('["not ours"]', encoding="utf-8")
    _, page = built(tmp_path, tmp_path / "page.html")
    assert "6 runs, 1 bench folder, 16 stored results, 2 analyses." in page.text
    assert "Not finished, and not shown: unfinished." in page.text
    assert headings(page)[0] == "summary"
    assert headings(page)[-2:] == ["analyses", "settings"]
    links = {attrs["href"][1:] for attrs in page.all("a")}
    assert links == set(headings(page))


def test_hostile_names_are_text_wherever_they_come_from(tmp_path):
    bad = "<script>alert(1)</script>"
    demo(tmp_path)
    summary = {"comparisons": {"chosen-rate": {"title": bad, "notes": [bad]}}}
    (tmp_path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    rows = {"method": bad, "seed": 0, "test.accuracy": 0.5, "settings": {bad: bad}}
    (tmp_path / "chosen-rate" / "x.json").write_text(json.dumps(rows), encoding="utf-8")
    make_run(tmp_path / "<b>run", classes=(bad, "b"), method=bad)
    make_run(tmp_path / "run2", classes=(bad, "b"), method=bad, seed=1)
    make_grid(tmp_path, recipe(title=bad, columns=("reds",), notes=[bad]))
    text, page = built(tmp_path)
    assert bad in page.text
    assert "<b>run" not in text


def test_pictures_of_a_page_are_bounded(tmp_path):
    methods = [f"ptr(R={number})" for number in range(1, 13)]
    for method in ("plain", *methods):
        predictions = make_run(tmp_path / "runs" / method, per_class=16, data=tmp_path / "data", method=method)
    make_pictures(tmp_path / "data", predictions)
    _, page = built(tmp_path / "runs")
    assert len(page.all("img")) == 13 * (96 // 13)


@pytest.mark.slow
def test_a_hundred_runs_make_a_small_page_in_time(tmp_path):
    classes = [f"class {number}" for number in range(102)]
    rng = np.random.default_rng(0)
    methods = ["plain", *(f"ptr(R={number})" for number in range(1, 10))]
    for method in methods:
        for seed in range(10):
            folder = tmp_path / "runs" / f"{method}-{seed}"
            predictions = make_run(
                folder, classes=classes, per_class=10, data=tmp_path / "data", method=method, seed=seed
            )
            result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
            result["test.accuracy"] += float(rng.normal(0, 0.01))
            (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    make_pictures(tmp_path / "data", [row for row in predictions if row[1] != row[2]])
    since = time.process_time()
    page = write_report(tmp_path / "runs")
    assert time.process_time() - since < 10
    assert page.stat().st_size < 5_000_000


def test_what_cannot_be_reported_is_said_in_one_line(tmp_path):
    with pytest.raises(DataError, match=r"expected a folder of runs at .*nowhere, found nothing there"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(DataError, match="found none; give a folder that 'holdfast train'"):
        write_report(tmp_path)
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match="found a file; give the folder that it lies in"):
        write_report(tmp_path / "file")
    (tmp_path / "a.json").write_text('{"x": 1}', encoding="utf-8")
    with pytest.raises(DataError, match=r"found 1 JSON file\(s\) that are none of these"):
        write_report(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "settings.yaml").write_text("data: x\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"unfinished runs alone, such as .*run; repeat their command"):
        write_report(tmp_path)
    (tmp_path / "b.json").write_text("{torn", encoding="utf-8")
    with pytest.raises(DataError, match=r"cannot read .*b\.json"):
        write_report(tmp_path)


def test_a_page_that_cannot_be_written_is_an_error_of_ours(tmp_path):
    make_run(tmp_path / "run")
    with pytest.raises(HoldfastError, match=r"cannot write .*; choose another place with --out"):
        write_report(tmp_path / "run", tmp_path / "run" / "result.json" / "page.html")


def test_work_in_progress_and_hidden_folders_are_passed_by(tmp_path):
    grid = make_grid(tmp_path, recipe(columns=("reds",), seeds=1))
    make_run(grid / "work" / "x.0")
    make_run(tmp_path / ".hidden")
    found = look_into(tmp_path)
    assert found.runs == []
    assert found.grids == [grid]
