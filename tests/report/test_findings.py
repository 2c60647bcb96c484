"""The files of analyses on a page: whole ones, damaged ones, and ones that reach for other files."""

import json

import pytest

from holdfast.analysis.drawing import drawn
from holdfast.analysis.finding import KIND as WRITTEN
from holdfast.analysis.finding import Finding
from holdfast.report.findings import KIND, LARGEST_SVG, StoredFinding, finding_section
from holdfast.report.page import render
from holdfast.report.svg import chart

from .folders import Page


@pytest.fixture
def stored(tmp_path):
    """An analysis with two figures, one narrow and one wide."""
    made = []
    for width, name in ((3, "narrow"), (7, "wide")):
        with chart(width, 2) as (figure, axes):
            axes.plot([0, 1], [0, 1])
            made.append(drawn(figure, name, label=f"A {name} line.", caption=f"The {name} one."))
    finding = Finding("example", "Why <it> works", "It rises by 3 % & more.", {"x": 1}, made, {"runs": 4}, ["A note."])
    return finding.write(tmp_path / "analysis")


def section(path, **changes):
    content = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    made = finding_section(StoredFinding(path, content), "a0")
    return Page(render("t", [], [made])), made


def test_the_report_knows_what_analyses_write():
    assert KIND == WRITTEN


def test_paragraph_figures_and_notes(stored):
    page, made = section(stored)
    assert made.heading == "Why <it> works"
    assert "It rises by 3 % & more." in page.text
    assert [attrs["aria-label"] for attrs in page.all("svg")] == ["A narrow line.", "A wide line."]
    assert [attrs.get("class") for attrs in page.all("figure")] == [None, "wide"]
    assert "A note." in page.text
    assert all(attrs["id"].startswith("a0") for _, attrs in page.elements if "id" in attrs)


def test_a_figure_around_a_picture_keeps_its_colours(tmp_path):
    with chart(3, 2) as (figure, axes):
        axes.imshow([[0, 1], [1, 0]])
        picture = drawn(figure, "grid", label="A grid.", caption="Four cells.")
    page, _ = section(Finding("example", "t", "t", {}, [picture]).write(tmp_path))
    assert page.all("svg")[0]["style"].startswith("background: #")
    assert not any("var(" in attrs.get("style", "") for _, attrs in page.elements)


def test_inputs_stand_in_a_table_of_their_own(stored):
    content = json.loads(stored.read_text(encoding="utf-8"))
    table = StoredFinding(stored, content).settings()
    assert [cell.text for cell in table.rows[0]] == ["runs", "4"]
    assert StoredFinding(stored, {"kind": KIND}).settings() is None


def test_a_drawing_that_cannot_be_used_gives_way_to_the_picture(stored):
    (stored.parent / "narrow.svg").write_text("<svg", encoding="utf-8")
    (stored.parent / "wide.svg").write_text(" " * (LARGEST_SVG + 1), encoding="utf-8")
    page, _ = section(stored)
    assert page.all("svg") == []
    assert [attrs["alt"] for attrs in page.all("img")] == ["A narrow line.", "A wide line."]
    assert all(attrs["src"].startswith("data:image/png;base64,iVBOR") for attrs in page.all("img"))


def test_what_cannot_be_shown_is_said(stored):
    (stored.parent / "narrow.svg").unlink()
    (stored.parent / "narrow.png").write_text("no picture", encoding="utf-8")
    page, _ = section(stored)
    assert "The figure narrow cannot be shown: narrow.svg is missing; narrow.png is no PNG." in page.text
    assert len(page.all("svg")) == 1


@pytest.mark.parametrize("file", ["../secret.svg", "/etc/passwd", "", None, 3, "sub/a.svg"])
def test_files_elsewhere_are_not_read(stored, file):
    (stored.parent.parent / "secret.svg").write_bytes((stored.parent / "narrow.svg").read_bytes())
    page, _ = section(stored, figures=[{"name": "x", "svg": file, "png": file}])
    assert page.all("svg") == []
    assert "The figure x cannot be shown: no file in its folder is named." in page.text


def test_a_link_is_not_followed(stored):
    secret = stored.parent.parent / "secret.svg"
    secret.write_bytes((stored.parent / "narrow.svg").read_bytes())
    (stored.parent / "link.svg").symlink_to(secret)
    page, _ = section(stored, figures=[{"name": "x", "svg": "link.svg"}])
    assert page.all("svg") == []


def test_a_file_of_odd_types_makes_a_section_all_the_same(stored):
    page, made = section(stored, title=None, text=["a"], notes="none", figures={"a": 1}, inputs=[1])
    assert made.heading == "example"
    assert page.all("svg") == []
