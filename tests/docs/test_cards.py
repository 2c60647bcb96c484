"""The cards agree with the code: methods that are named exist, and every hyper-parameter and preset has its row."""

import re
import types
import typing

import pytest

from holdfast.core import grammar
from holdfast.core.errors import ConflictError
from holdfast.core.method import hyper_parameters
from holdfast.core.registry import create, methods
from holdfast.core.values import text

from .pages import DOCS, PAGES, name_of, prose
from .test_commands import LINES


def method_texts():
    """Texts that name methods: in inline code that begins with one, and after ``--method``."""
    stems = "|".join(methods())
    span = re.compile(rf"`((?:{stems})(?:@\w+|\(|\+)[^`]*)`")
    found = [(page, text_) for page in PAGES for text_ in span.findall(prose(page))]
    found += [(page, words[words.index("--method") + 1]) for page, words, _ in LINES if "--method" in words]
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
    return DOCS / "methods" / f"{stem}.md"


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
