"""Figures: one text alternative, no clash of identifiers, colours that everybody can tell apart."""

import itertools
import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from holdfast.report.figures import STRONGEST, Line, Row, confusion_matrix, curves, dots, reliability_diagram
from holdfast.report.measures import duration, fixed, measure
from holdfast.report.palette import ACCENT, BLUE, GREY, INK, MUTED, PAPER, SERIES, method_colour
from holdfast.report.quality import Bin
from holdfast.report.svg import plain

# Full loss of one cone type in linear RGB (Viénot, Brettel and Mollon 1999; Machado, Oliveira and Fernandes 2009).
DEFICIENCIES = {
    "none": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritan": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def linear(colour):
    channels = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    matrix = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    ratio = matrix @ np.clip(rgb, 0, 1) / np.array([0.95047, 1.0, 1.08883])
    f = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one, other):
    weights = np.array([0.2126, 0.7152, 0.0722])
    dark, light = sorted((weights @ linear(one), weights @ linear(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_series_stand_out_from_the_paper(scheme):
    for colour in SERIES:
        # 3 : 1 is what WCAG 2.1 asks of graphical objects.
        assert contrast(getattr(colour, scheme), getattr(PAPER, scheme)) >= 3, colour


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_counts_can_be_read_on_the_strongest_cell(scheme):
    accent, paper = (
        np.array([int(getattr(colour, scheme)[place : place + 2], 16) for place in (1, 3, 5)])
        for colour in (ACCENT, PAPER)
    )
    cell = "#" + "".join(f"{int(value):02x}" for value in STRONGEST * accent + (1 - STRONGEST) * paper)
    assert contrast(getattr(INK, scheme), cell) >= 4.5  # WCAG 2.1 for text
    assert contrast(getattr(INK, scheme), getattr(PAPER, scheme)) >= 7
    assert contrast(getattr(MUTED, scheme), getattr(PAPER, scheme)) >= 4.5


@pytest.mark.parametrize("sight", DEFICIENCIES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_series_can_be_told_apart(scheme, sight):
    seen = {c.variable: lab(DEFICIENCIES[sight] @ linear(getattr(c, scheme))) for c in SERIES}
    for one, other in itertools.combinations(seen, 2):
        # A just noticeable difference is about 2.3; side by side in thin lines it takes several of them.
        assert np.linalg.norm(seen[one] - seen[other]) >= 15, (one, other)


def test_a_method_keeps_its_colour_whatever_its_strength():
    assert method_colour("l2_sp(alpha=0.1)") is method_colour("l2_sp@li2018(preset='x')") is BLUE
    assert method_colour("l2_sp+ptr(R=3)") is BLUE
    assert method_colour("plain") is method_colour("") is GREY
    assert method_colour("a_method_to_come(x=1)") is method_colour("a_method_to_come")
    first = {method_colour(name).variable for name in ("plain", "scratch", "l2_sp", "ptr", "rifle", "dtnh")}
    assert len(first) == 6


def line(name="validation", **other):
    return Line(name, [1, 2, 3], [0.3, 0.2, 0.1], BLUE, **other)


def test_figure_is_one_labelled_image_with_its_axes_named():
    svg = curves([line()], "loss (nats)", name="one", label='loss "falls" <to> 0.1')
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'loss "falls" <to> 0.1'
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"epoch", "loss (nats)"} <= set(texts)
    assert "<style" not in svg  # it would hold for the whole page
    assert "DejaVu" not in svg


def test_colours_follow_the_scheme_of_the_page():
    svg = curves([line()], "loss", name="one", label="x")
    assert f"stroke: var({BLUE.variable}, {BLUE.light})" in svg
    assert set(re.findall(r"(?<!, )#[0-9a-f]{6}", svg)) == set(), "a colour that stays the same on dark paper"


def test_identifiers_begin_with_the_name_and_resolve():
    svg = curves([line(), line("training", dashed=True)], "loss", name="one", label="x")
    ids = re.findall(r' id="([^"]+)"', svg)
    assert ids
    assert len(ids) == len(set(ids))
    assert all(identifier.startswith("one-") for identifier in ids)
    assert set(re.findall(r'(?:url\(|href=")#([\w-]+)', svg)) == set(ids)


def test_a_name_in_the_legend_is_text_not_a_formula():
    svg = curves([line("$\\frac{1}$"), line("plain")], "loss", name="one", label="x")
    texts = [element.text for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"$\\frac{1}$", "plain"} <= set(texts)


def test_the_same_figure_gives_the_same_bytes():
    assert curves([line()], "loss", name="one", label="x") == curves([line()], "loss", name="one", label="x")


@pytest.mark.parametrize("count", [3, 40, 130])
def test_confusion_matrix_takes_any_name(count):
    names = ["<script>alert(1)</script>", "$\\frac{1}$", "花\n"] + [f"class {number}" for number in range(count - 3)]
    svg = confusion_matrix(np.eye(count, dtype=np.int64) * 7, names, name="c", label="x")
    assert "<script" not in svg
    assert "&lt;script&gt;alert" in svg
    root = ET.fromstring(svg)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"predicted class", "true class"} <= set(texts)
    assert texts.count("7") == (count if count <= 30 else 0)
    assert (root.find(".//{http://www.w3.org/2000/svg}image") is not None) == (count > 30)
    if count == 3:
        assert {"$\\frac{1}$", "花\N{REPLACEMENT CHARACTER}"} <= set(texts)


def test_dots_name_the_runs_behind_each_row():
    rows = [Row("plain", [0.5, 0.6], 0.55, (0.4, 0.7), GREY), Row("ptr", [0.6], 0.6, None, BLUE)]
    svg = dots(rows, measure("test.accuracy"), "test accuracy (%)", name="d", label="x")
    assert "plain (2 runs)" in svg
    assert "ptr (1 run)" in svg
    assert "test accuracy (%)" in svg


def test_reliability_diagram_draws_one_dot_per_bin():
    bins = [Bin(0.4, 0.5, 0.45, 4, 2), Bin(0.9, 1.0, 0.95, 30, 27)]
    assert reliability_diagram(bins, name="r", label="x").count("<use") > 0
    with_more = reliability_diagram([*bins, Bin(0.6, 0.7, 0.65, 9, 5)], name="r", label="x")
    assert with_more.count(BLUE.variable) > reliability_diagram(bins, name="r", label="x").count(BLUE.variable)


def test_plain_text_is_short_and_printable():
    assert plain("a\x00b\ud800") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"
    assert plain("x" * 50, 10) == "x" * 9 + "…"


def test_numbers_carry_true_signs_and_units():
    accuracy = measure("test.accuracy")
    assert (accuracy.text(0.7534), accuracy.axis, accuracy.gain_unit) == ("75.3 %", "test accuracy (%)", "points")
    assert (accuracy.signed(0.012), accuracy.signed(-0.012), accuracy.signed(-0.0001)) == ("+1.20", "−1.20", "−0.01")
    assert (measure("test.nll").higher_is_better, measure("l2_sp.penalty").axis) == (False, "l2_sp.penalty")
    assert (fixed(float("nan"), 2), fixed(-2.5, 1)) == ("–", "−2.5")
    assert [duration(s) for s in (14.2, 185, 7800)] == ["14.2 s", "3 min 5 s", "2 h 10 min"]
