"""Every fenced block of the pages and the docstrings is executed, or says above it why not."""

import ast
import inspect
import re
import textwrap

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import nn

import holdfast
from holdfast.bench.recipe import Printed, Recipe

from .pages import FENCE, PAGES, ROOT, blocks, name_of

LANGUAGES = {"python", "bash", "yaml", "text", "bibtex"}
"""python runs here, bash in test_commands.py, yaml is read as a recipe; the other two are for reading."""

RUNNING = [page for page in PAGES if any(block.runs for block in blocks(page, "python"))]
SOURCES = sorted((ROOT / "src").rglob("*.py"))


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


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_has_a_language_that_is_looked_after(page):
    assert {block.language for block in blocks(page)} <= LANGUAGES


def test_a_block_is_left_out_only_with_a_reason(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- no-run: needs a folder -->\n```python\n1/0\n```\n"
        "<!-- no-run: -->\n```python\n2\n```\n\n```python\n3\n```\n"
    )
    assert [block.reason for block in blocks(page, "python")] == ["needs a folder", None, None]


def test_an_excuse_stands_above_a_block():
    for page in PAGES:
        excuses = len(re.findall(r"^<!-- no-run:", page.read_text(encoding="utf-8"), re.M))
        assert excuses == sum(not block.runs for block in blocks(page)), page


# -- yaml ------------------------------------------------------------------------------------------------
def test_yaml_blocks_are_parts_of_a_recipe():
    found = [block for page in PAGES for block in blocks(page, "yaml")]
    whole = yaml.safe_load(found[0].code)
    for block in found:
        part = yaml.safe_load(block.code)
        printed = part.pop("published", [])
        if part:
            assert Recipe.model_validate({**whole, "tuning": None, **part})
        assert all(Printed.model_validate(figure) for figure in printed)


# -- docstrings ------------------------------------------------------------------------------------------
def docstrings(path):
    """The docstrings of a file, with the names of what they describe."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield f"{name_of(path)}: {getattr(node, 'name', 'module')}", text


DOCSTRINGS = [pair for path in SOURCES for pair in docstrings(path)]
EXAMPLES = [(name, FENCE.search(text)) for name, text in DOCSTRINGS if "```" in text]


@pytest.mark.parametrize(("name", "match"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_blocks_of_docstrings_run(name, match):
    assert match is not None
    assert match["language"] == "python"
    given = {
        "methods": holdfast.compose("l2_sp"),
        "model": nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)),
        "loader": [(torch.randn(2, 4), torch.tensor([0, 2]))] * 2,
        "F": F,
        "SGD": torch.optim.SGD,
    }
    exec(textwrap.dedent(match["code"]), given)


def test_docstrings_have_no_blocks_of_another_form():
    """Literal blocks of reStructuredText and sessions of doctest would escape the test above."""
    assert len(EXAMPLES) >= 2
    other = re.compile(r"(?<!\.\. math)::\n\n? +\S|^>>> ", re.M)
    assert [name for name, text in DOCSTRINGS if other.search(inspect.cleandoc(text))] == []
