"""The files of a finding."""

import json
import math

import pytest
from PIL import Image

from holdfast.analysis.drawing import drawn
from holdfast.analysis.finding import KIND, Finding
from holdfast.report.svg import chart


def finding(value=1.5):
    with chart(3, 2) as (figure, axes):
        axes.plot([0, 1], [0, value if math.isfinite(value) else 1])
        picture = drawn(figure, "example-line", label="A line that rises.", caption="One line.")
    return Finding("example", "An example", "It rises.", {"slope": value}, [picture], {"runs": 1}, ["One run only."])


def test_writes_data_and_pictures(tmp_path):
    path = finding().write(tmp_path / "new")
    stored = json.loads(path.read_text())
    assert path.name == "example.json"
    assert stored["kind"] == KIND
    assert stored["data"] == {"slope": 1.5}
    assert stored["notes"] == ["One run only."]
    (figure,) = stored["figures"]
    assert figure["label"] == "A line that rises."
    assert (path.parent / figure["svg"]).read_text().lstrip().startswith("<?xml")
    with Image.open(path.parent / figure["png"]) as image:
        assert image.size == (480, 320)


def test_the_same_finding_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        finding().write(tmp_path / name)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_refuses_numbers_that_json_has_not():
    with pytest.raises(ValueError, match="not JSON compliant"):
        finding(math.nan).as_json()
