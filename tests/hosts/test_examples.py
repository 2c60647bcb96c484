"""The examples run as they stand and learn their task."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
CLASSES = 4


@pytest.mark.parametrize("name", ["hand_written_loop", "lightning_callback", "hf_trainer"])
def test_example_learns(name, monkeypatch, capsys):
    monkeypatch.syspath_prepend(EXAMPLES)
    accuracy = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]()
    assert accuracy > 2 / CLASSES
    assert f"test accuracy {accuracy:.3f}" in capsys.readouterr().out


def test_examples_stay_short_and_are_all_tried():
    lines = {path.stem: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    assert max(lines.values()) < 80
    assert set(lines) == {"hand_written_loop", "lightning_callback", "hf_trainer", "stripes"}
