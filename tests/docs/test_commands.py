"""Every command line of the pages is read by the real command line; those that are cheap are run, in miniature."""

import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from cli.conftest import TINY, paint
from holdfast.cli.main import command, make_app
from holdfast.train.settings import Settings

from .pages import PAGES, ROOT, blocks, name_of, prose

TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
SMALL = [*map(str, TINY), "--epochs", "1", "--progress", "off"]
"""Behind a command of ``holdfast train``, where the later flag wins: a network and a run of seconds."""


def commands(page):
    """The command lines of a page's blocks, continued ones in one, and whether their block is to be run."""
    whole = [(block.code.replace("\\\n", " "), block.runs) for block in blocks(page, "bash")]
    lines = [(line, runs) for code, runs in whole for line in code.splitlines()]
    return [(words, runs) for line, runs in lines if (words := shlex.split(line, comments=True))]


def named(page):
    """The command lines that the text of a page names in passing."""
    found = [shlex.split(code) for code in re.findall(r"`(holdfast [^`]+)`", prose(page))]
    return [words for words in found if "…" not in words and "..." not in words]


LINES = [(page, words, True) for page in PAGES for words, _ in commands(page)]
LINES += [(page, words, False) for page in PAGES for words in named(page)]
"""Page, command line, and whether it is whole: what the text names may lack arguments, or have letters for values."""


@pytest.mark.parametrize(
    ("page", "words", "whole"), LINES, ids=[f"{name_of(page)}: {' '.join(words)}" for page, words, _ in LINES]
)
def test_command_lines_are_understood(page, words, whole):
    program = Path(words[0]).name
    if program == "make":
        assert set(words[1:]) <= TARGETS
    elif program.startswith("python"):
        files = [word for word in words[1:] if word.endswith(".py")]
        assert all((ROOT / file).is_file() for file in files)
    elif program == "holdfast":
        understood(words[1:], whole=whole)
    else:
        assert program in ("pip", "pre-commit"), f"nothing looks after {program}"


@cache
def whole_command():
    return get_command(make_app())


def understood(words, *, whole=True):
    """Read a command line as the command does, and the settings of a run too if it is whole.

    Raises:
        Exception: of typer or of holdfast, as the user would see it.
    """
    verb, rest, found = words[0], list(words), whole_command()
    while rest and rest[0] in getattr(found, "commands", {}):
        found = found.commands[rest.pop(0)]
    if not (rest or whole):
        return
    if hasattr(found, "commands") and not rest[0].startswith("-"):
        raise LookupError(f"no such command: {rest[0]}")
    try:
        with found.make_context("holdfast", rest) as context:
            given = {name: value for name, value in context.params.items() if value is not None}
    except typer.Exit:  # --help and its kin
        return
    if verb == "train" and whole:
        Settings.of(**{name: value for name, value in given.items() if name in Settings.model_fields})


@pytest.mark.parametrize("words", ["train x --epoch 3", "train x --epochs many", "bench sho x", "evaluate", "tarin x"])
def test_command_lines_with_a_mistake_are_not_understood(words):
    with pytest.raises(Exception, match=r"(?i)no such|missing|epochs|unexpected|unknown"):
        understood(words.split())


# -- run -------------------------------------------------------------------------------------------------
def miniature(words):
    """What to run for a command line: itself, itself made small, or None where it is too dear or needs data."""
    verb, rest = words[1], words[2:]
    if verb in ("evaluate", "predict", "methods"):
        return words[1:]
    if verb == "datasets" and "--unpack" not in rest:
        return words[1:]
    if verb in ("bench", "analyse") and rest[0] in ("list", "show"):
        return words[1:]
    if verb == "train" and rest[0].rstrip("/") == "photos" and "--source" not in rest:
        return [*words[1:], *SMALL]
    return None


def to_run(page):
    lines = [words for words, runs in commands(page) if runs and words[0] == "holdfast"]
    return [small for words in lines if (small := miniature(words)) is not None]


RUNNING = [page for page in PAGES if to_run(page)]


@pytest.mark.parametrize("page", RUNNING, ids=name_of)
def test_commands_run(page, tmp_path, monkeypatch, capsys):
    """One after the other, in a folder with the pictures that the pages speak of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    paint(tmp_path / "photos", counts=5)
    paint(tmp_path / "painted", counts=2, classes=("new",), seed=1)
    (tmp_path / "painted" / "new").rename(tmp_path / "new")
    for old, new in (("0.png", "a.jpg"), ("1.png", "b.jpg")):
        (tmp_path / "new" / old).rename(tmp_path / "new" / new)
    for words in to_run(page):
        spread = [name for word in words for name in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]
        assert command(spread) == 0, (words, capsys.readouterr().err)


def test_the_guide_is_run_from_training_to_prediction():
    verbs = [words[0] for words in to_run(ROOT / "docs" / "guide.md")]
    assert {"train", "evaluate", "predict", "methods"} <= set(verbs)
