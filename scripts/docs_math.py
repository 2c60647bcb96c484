"""Formulas of docstrings on the documentation site: reST's ``math`` becomes MathML, which browsers show unaided."""

from __future__ import annotations

import re
from typing import ClassVar
from xml.etree import ElementTree

from latex2mathml.converter import convert
from markdown import Extension, Markdown
from markdown.blockparser import BlockParser
from markdown.blockprocessors import BlockProcessor
from markdown.inlinepatterns import InlineProcessor
from mkdocs.plugins import get_plugin_logger

log = get_plugin_logger("formulas")


class Formulas(Extension):
    """Reads the role ``:math:`` in the text and the directive ``.. math::`` between paragraphs."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 (the name is Markdown's)
        """Register both before code is looked for: backticks and indentation would be taken for it."""
        md.inlinePatterns.register(Role(r":math:`([^`]+)`", md), "math_role", 195)
        md.parser.blockprocessors.register(Directive(md.parser), "math_directive", 95)


class Role(InlineProcessor):
    """A formula within a line."""

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[str, int, int]:  # type: ignore[override] # noqa: N802
        """Put the formula's place holder where the role was."""
        return self.md.htmlStash.store(mathml(m[1], "inline")), m.start(0), m.end(0)


class Directive(BlockProcessor):
    """A formula of its own: on the directive's line, on indented lines below it, or on both."""

    FORM: ClassVar[re.Pattern[str]] = re.compile(r"\.\. math::(?P<formula>.*(?:\n +.*)*)(?:\n|$)")

    def __init__(self, parser: BlockParser) -> None:
        super().__init__(parser)
        self.md = parser.md

    def test(self, parent: ElementTree.Element, block: str) -> bool:
        """Whether the block begins with the directive."""
        return bool(self.FORM.match(block))

    def run(self, parent: ElementTree.Element, blocks: list[str]) -> None:
        """Put the formula into the page, and what follows it back."""
        block = blocks.pop(0)
        match = self.FORM.match(block)
        assert match is not None
        box = ElementTree.SubElement(parent, "div", {"class": "formula"})
        box.text = self.md.htmlStash.store(mathml(match["formula"], "block"))
        if rest := block[match.end() :]:
            blocks.insert(0, rest)


def mathml(formula: str, display: str) -> str:
    """A formula's MathML; a command that the converter does not know is a warning, and so fails a strict build.

    Args:
        formula: LaTeX, on one line or several.
        display: ``inline`` or ``block``.
    """
    made = convert(" ".join(formula.split()), display=display)
    if unknown := sorted(set(re.findall(r"\\[A-Za-z]+", made))):
        log.warning("formula with unknown commands %s: %s", ", ".join(unknown), formula.strip())
    return made
