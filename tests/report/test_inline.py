"""Drawings from elsewhere: nothing is left that could act, load or refer outside."""

import io
import re
from xml.etree import ElementTree as ET

import pytest

from holdfast.report.figures import Line, curves
from holdfast.report.inline import cleaned, inlined
from holdfast.report.palette import BLUE, INK, PAPER
from holdfast.report.svg import chart

HEAD = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
HOSTILE = f"""<svg {HEAD} viewBox="0 0 10 10" onload="alert(1)" width="5000">
<script>alert(1)</script>
<style>@import url(http://evil.example/x.css); body {{ display: none }}</style>
<a xlink:href="javascript:alert(1)"><text>link</text></a>
<foreignObject><body xmlns="http://www.w3.org/1999/xhtml"><iframe src="http://evil.example"/></body></foreignObject>
<image xlink:href="http://evil.example/pixel.png"/>
<image href="data:image/svg+xml;base64,PHN2Zy8+"/>
<use xlink:href="http://evil.example/a.svg#b"/>
<use href="#group"/>
<g id="group"><use href="#dot"/></g>
<path id="dot" d="M0 0L1 1" onclick="alert(1)" style="fill: url(http://evil.example/p); stroke: #0063ab; behavior: x"/>
<rect fill="url( http://evil.example/p )" clip-path="url(#clip)" style="position: fixed; fill: expression(alert(1))"/>
<set attributeName="onclick" to="alert(1)"/><animate attributeName="href" values="javascript:alert(1)"/>
<text style="font-family: x; fill: #1c1d1f">tom &lt;b&gt; &amp; <tspan onmouseover="x">jerry</tspan></text>
<clipPath id="clip"><rect width="3" height="3"/></clipPath>
</svg>"""


def shown(content):
    return inlined(cleaned(content.encode()), "f1", 'a "label" <b>')


def test_a_hostile_drawing_keeps_its_shapes_alone():
    markup = shown(HOSTILE)
    for word in (
        "script",
        "evil",
        "alert",
        "import",
        "iframe",
        "javascript",
        "onload",
        "onclick",
        "expression",
        "set ",
    ):
        assert word not in markup.lower(), word
    root = ET.fromstring(markup)
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags == {"svg", "use", "g", "path", "rect", "text", "tspan", "clipPath"}
    references = [value for e in root.iter() for key, value in e.attrib.items() if key.endswith("href")]
    assert references == ["#f1-dot"]  # neither the group of references nor an address
    assert "tom <b> & jerry" in " ".join("".join(root.itertext()).split())
    assert root.get("aria-label") == 'a "label" <b>'


def test_colours_follow_the_scheme_and_identifiers_are_the_drawings_own():
    markup = shown(HOSTILE)
    assert f"var({BLUE.variable}, {BLUE.light})" in markup
    assert f"var({INK.variable}, {INK.light})" in markup
    assert set(re.findall(r' id="([^"]+)"', markup)) == {"f1-dot", "f1-clip"}
    assert "url(#f1-clip)" in markup


def test_black_and_white_turn_with_the_scheme_and_so_does_what_has_no_colour():
    black = '<rect style="fill: #000000; stroke: #ffffff"/><text>plain</text>'
    root = ET.fromstring(shown(f"<svg {HEAD}>{black}</svg>"))
    style = root.find("{http://www.w3.org/2000/svg}rect").get("style")
    assert style == "fill: var(--ink, #000000); stroke: var(--paper, #ffffff)"
    assert root.get("style") == f"fill: var(--ink, {INK.light})"


def test_a_drawing_that_does_not_turn_keeps_its_colours_on_light_paper():
    content = f'<svg {HEAD}><path style="stroke: {BLUE.light}"/></svg>'.encode()
    markup = inlined(cleaned(content), "f1", "label", turns=False)
    assert "var(" not in markup
    assert f"background: {PAPER.light}" in markup


def test_a_figure_of_ours_loses_nothing_that_is_seen():
    with chart(3, 2) as (figure, axes):
        axes.plot([0, 1], [0, 1])
        axes.imshow([[0, 1], [1, 0]])
        axes.bar([0, 1], [1, 2], hatch="/")
        axes.set_xlabel("größer than $x^2$")
        stored = io.BytesIO()
        figure.savefig(stored, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    before = ET.fromstring(stored.getvalue())
    seen = ("path", "use", "image", "text", "tspan", "pattern", "clipPath", "rect")

    def counts(root):
        return {tag: len(list(root.iter(f"{{http://www.w3.org/2000/svg}}{tag}"))) for tag in seen}

    kept = cleaned(stored.getvalue())
    assert counts(kept) == counts(before)
    assert counts(kept)["image"] == counts(kept)["pattern"] == 1
    assert len([e for e in kept.iter() if e.get("{http://www.w3.org/1999/xlink}href")]) == len(
        [e for e in before.iter() if e.get("{http://www.w3.org/1999/xlink}href")]
    )
    for before_style, style in zip(
        (e.get("style") for e in before.iter() if e.get("style")),
        (e.get("style") for e in kept.iter() if e.get("style")),
        strict=True,
    ):
        lost = {part.partition(":")[0].strip() for part in before_style.split(";")} - {
            part.partition(":")[0].strip() for part in style.split(";")
        }
        assert lost <= {"font-family", ""}, before_style


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<svg", "no well-formed SVG"),
        (b"<html/>", "no SVG"),
        (b'<svg xmlns="http://example.org/other"/>', "no SVG"),
        (b'<!DOCTYPE svg [<!ENTITY a "b">]><svg xmlns="http://www.w3.org/2000/svg">&a;</svg>', "declares entities"),
        ("<svg/>".encode("utf-16"), "codec|decode"),
        (f"<svg {HEAD}>{'<g>' * 5000}{'</g>' * 5000}</svg>".encode(), "no well-formed SVG"),
    ],
)
def test_what_is_no_drawing_is_refused(content, reason):
    with pytest.raises(ValueError, match=reason):
        cleaned(content)


def test_drawings_made_here_and_read_back_look_the_same():
    svg = curves([Line("a", [1, 2], [0.1, 0.2], BLUE)], "loss (nats)", name="one", label="A curve.")
    assert svg.count("<path") == ET.tostring(cleaned(svg.encode()), encoding="unicode").count("path d=")
