from pathlib import Path

import pytest

from holdfast.cli import methods as verb
from holdfast.core.registry import methods

CARDS = Path(__file__).parents[2] / "docs" / "methods"


def test_the_list_has_every_method_with_its_line_and_presets(holdfast):
    out = holdfast("methods").out
    for stem, method in methods().items():
        line = next(line for line in out.splitlines() if line.strip().startswith(f"{stem} "))
        assert method.__doc__.splitlines()[0] in line
        assert all(preset in line for preset in method.presets)


def test_the_list_says_what_a_method_needs(holdfast):
    line = next(line for line in holdfast("methods").out.splitlines() if line.strip().startswith("ptr "))
    assert "representation" in line


@pytest.mark.parametrize("stem", sorted(methods()))
def test_every_method_has_a_card(holdfast, stem):
    done = holdfast("methods", stem)
    assert done.code == 0
    assert done.out == (CARDS / f"{stem}.md").read_text()


def test_without_a_card_the_docstring_is_shown():
    class Nameless:
        """Does something."""

    assert verb.card("nameless", Nameless) == "# nameless\n\nDoes something.\n"


def test_a_terminal_gets_a_rendered_card(holdfast, monkeypatch):
    monkeypatch.setattr(verb.sys.stdout, "isatty", lambda: True)
    assert "## Formula" in (CARDS / "ptr.md").read_text()
    out = holdfast("methods", "ptr").out
    assert "Formula" in out
    assert "## Formula" not in out


def test_an_unknown_name_gets_the_nearest(holdfast):
    done = holdfast("methods", "rifel")
    assert done.code == 2
    assert done.error == "error: unknown method 'rifel'; did you mean 'rifle'?"
