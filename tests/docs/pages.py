"""The pages and their fenced blocks."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(DOCS.rglob("*.md")),
]
FENCE = re.compile(r"^(?P<indent> *)(?P<mark>```+)(?P<language>[^\n`]*)\n(?P<code>.*?)^ *(?P=mark)$", re.M | re.S)
NO_RUN = re.compile(r"<!-- no-run: (?P<reason>\S.*) -->\n$")
"""Stands directly above a block that is not executed, and says why."""


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    code: str
    reason: str | None

    @property
    def runs(self):
        return self.reason is None


def blocks(page, *languages):
    """A page's fenced blocks in these languages, or all of them."""
    source = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(source):
        before = source[: match.start()]
        excuse = NO_RUN.search(before)
        block = Block(
            page, before.count("\n") + 2, match["language"], match["code"], excuse["reason"] if excuse else None
        )
        if not languages or block.language in languages:
            found.append(block)
    return found


def prose(page):
    """A page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def name_of(path):
    return str(path.relative_to(ROOT))
