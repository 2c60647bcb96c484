"""The documentation does what it says: blocks run, commands parse, cards agree with the code, links lead somewhere."""

import dataclasses
import os
import re
import shlex
import subprocess
import sys
import types
import typing
from functools import cache
from pathlib import Path

import pytest

from holdfast.core import grammar
from holdfast.core.errors import ConflictError
from holdfast.core.method import hyper_parameters
from holdfast.core.registry import create, methods
from holdfast.core.values import text

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINKED = [*PAGES, *(ROOT / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
FENCE = re.compile(r"^(?P<mark>```+)(?P<language>\w*)\n(?P<code>.*?)^(?P=mark)$", re.M | re.S)
NO_RUN = re.compile(r"<!-- no-run: \S.* -->\n$")


@dataclasses.dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    code: str
    runs: bool


def blocks(page, language):
    source = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(source):
        before = source[: match.start()]
        block = Block(page, before.count("\n") + 2, match["language"], match["code"], not NO_RUN.search(before))
        if block.language == language:
            found.append(block)
    return found


def name_of(path):
    return str(path.relative_to(ROOT))


def prose(page):
    """A page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


RUNNING = [page for page in PAGES if any(block.runs for block in blocks(page, "python"))]


@pytest.mark.filterwarnings(
    # what Lightning says of its own code and of a loader without worker processes
    "ignore:.*LeafSpec.*:FutureWarning",
    "ignore:.*does not have many workers.*",
)
@pytest.mark.parametrize("page", RUNNING, ids=name_of)
def test_python_blocks_run(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "documentation"}
    for block in blocks(page, "python"):
        if block.runs:
            # blank lines before it, so that a traceback names the line of the page
            exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), namespace)


def test_a_block_is_left_out_only_with_a_reason(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- no-run: needs a folder -->\n```python\n1/0\n```\n"
        "<!-- no-run: -->\n```python\n2\n```\n\n```python\n3\n```\n"
    )
    assert [block.runs for block in blocks(page, "python")] == [False, True, True]


# -- commands --------------------------------------------------------------------------------------------
def commands():
    found = []
    for page in LINKED:
        for block in blocks(page, "bash"):
            for line in block.code.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words:
                    found.append((page, words))
    return found


COMMANDS = commands()
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=[f"{name_of(p)}: {' '.join(w)}" for p, w in COMMANDS])
def test_commands_exist(page, words):
    program = Path(words[0]).name
    if program == "make":
        assert set(words[1:]) <= TARGETS
    elif program.startswith("python"):
        files = [word for word in words[1:] if word.endswith(".py")]
        assert all((ROOT / file).is_file() for file in files)
    elif program == "holdfast":
        assert offered(words[1:])


@cache
def help_of(*verbs):
    """What ``holdfast VERB --help`` prints, in a terminal wide enough for whole options."""
    ask = [sys.executable, "-c", "from holdfast.cli.main import main; main()", *verbs, "--help"]
    wide = {**os.environ, "COLUMNS": "240", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(ask, capture_output=True, text=True, env=wide, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def offered(words):
    """Whether the command line has the verb and its options."""
    verb = [word for word in words[: 2 if words[:1] in (["bench"], ["analyse"]) else 1] if not word.startswith("-")]
    options = {word.partition("=")[0] for word in words if word.startswith("--")}
    return options <= set(re.findall(r"--[\w-]+", help_of(*verb)))


# -- methods ---------------------------------------------------------------------------------------------
def method_texts():
    """Texts that name methods: in inline code that begins with one, and after ``--method``."""
    stems = "|".join(methods())
    span = re.compile(rf"`((?:{stems})(?:@\w+|\(|\+)[^`]*)`")
    found = [(page, text_) for page in LINKED for text_ in span.findall(prose(page))]
    found += [(page, words[words.index("--method") + 1]) for page, words in COMMANDS if "--method" in words]
    return [(page, text_) for page, text_ in found if "..." not in text_ and "…" not in text_]


REFUSED = {"dtnh(ptr)", "dtnh(rifle)"}  # named in the cards as errors


TEXTS = method_texts()


@pytest.mark.parametrize(("page", "source"), TEXTS, ids=[f"{name_of(p)}: {s}" for p, s in TEXTS])
def test_methods_that_are_named_exist(page, source):
    if source in REFUSED:
        with pytest.raises(ConflictError, match="is none"):
            grammar.parse(source)
    else:
        grammar.parse(source)


def card(stem):
    return ROOT / "docs" / "methods" / f"{stem}.md"


def rows(page, header):
    """Rows of the tables whose first header cell is ``header``, as dictionaries by header."""
    found, columns = [], None
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else None
        if cells is None:
            columns = None
        elif columns is None:
            columns = cells
        elif columns[0] == header and not set("".join(cells)) <= set("-: "):
            found.append(dict(zip(columns, cells, strict=True)))
    return found


def written(value):
    return "none" if value is None else text(value)


def allowed(cls, f):
    """A hyper-parameter's values in the words of a card."""
    hint = typing.get_type_hints(cls)[f.name]
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if literals := [text(v) for o in options if typing.get_origin(o) is typing.Literal for v in typing.get_args(o)]:
        return ", ".join(literals)
    if options == (bool,):
        return "true, false"
    bounds = [(">", f.metadata["above"]), ("≥", f.metadata["low"]), ("≤", f.metadata["high"])]
    given = " and ".join(f"{sign} {text(bound)}" for sign, bound in bounds if abs(bound) != float("inf"))
    given = "a 'text'" if str in options and type(None) in options else given
    return given + " or none" * (type(None) in options)


STEMS = sorted(methods())


@pytest.mark.parametrize("stem", STEMS)
def test_cards_list_every_hyper_parameter(stem):
    cls = methods()[stem]
    table = {row["name"].strip("`"): row for row in rows(card(stem), "name")}
    expected = {f.name: f for f in hyper_parameters(cls)}
    assert set(table) - {"inner"} == set(expected)
    for name, f in expected.items():
        assert table[name]["default"].strip("`") == written(f.default), name
        if "allowed" in table[name]:
            assert table[name]["allowed"].replace("`", "") == allowed(cls, f), name


@pytest.mark.parametrize("stem", STEMS)
def test_cards_list_every_preset(stem):
    cls = methods()[stem]
    table = {row["preset"].strip("`").partition("@")[2]: row["settings"] for row in rows(card(stem), "preset")}
    assert set(table) == set(cls.presets)
    for preset, values in cls.presets.items():
        shown = ", ".join(f"{name}={text(value)}" for name, value in values.items())
        assert table[preset].replace("`", "") == shown
        assert create(stem, preset, [], {}).preset == preset


@pytest.mark.parametrize("stem", STEMS)
def test_cards_have_every_section(stem):
    headings = re.findall(r"^## (.+)$", card(stem).read_text(encoding="utf-8"), re.M)
    wanted = ["What it does", "When to use it", "Formula", "Hyper-parameters", "Cost", "Batch-size law", "Deviations"]
    assert [h for h in wanted if h not in headings] == []


def test_no_card_without_a_method():
    assert {path.stem for path in card("x").parent.glob("*.md")} == set(STEMS)


# -- links -----------------------------------------------------------------------------------------------
def anchors(page):
    """The fragments that a page's headings can be reached by."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not fragment or fragment in anchors(there), target
