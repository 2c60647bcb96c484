"""Links lead somewhere in the repository's file view, and the site's navigation names every page."""

import re

import pytest
import yaml

from .pages import DOCS, PAGES, ROOT, name_of, prose


def anchors(page):
    """The fragments that a page's headings can be reached by."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not fragment or fragment in anchors(there), target


def named(nav):
    """The pages that a navigation names, at any depth."""
    if isinstance(nav, str):
        return [nav]
    return [page for entry in (nav.values() if isinstance(nav, dict) else nav) for page in named(entry)]


def test_the_navigation_names_every_page_once():
    nav = named(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert len(nav) == len(set(nav))
    assert [page for page in nav if not ((DOCS / page).is_file() or (ROOT / page).is_file())] == []
    deep = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md") if page.parent != DOCS}
    assert deep - set(nav) == set()  # pages of docs/ itself are added by scripts/docs_site.py
