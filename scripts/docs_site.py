"""Hooks of the documentation site: pages of the repository's root, links that hold here and there, anchors, formulas.

Pages are written for the repository's file view. The site shows the folder ``docs`` and the pages named in
``ROOT_PAGES``, so links between the two are led anew, and anchors are made as the file view makes them.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
ROOT_PAGES = ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
LINK = re.compile(r"(?<=\]\()(?P<path>[^)\s#:]+)(?=[)#])")

sys.path.insert(0, str(ROOT / "scripts"))  # mkdocs loads a hook by its path alone

from docs_math import Formulas  # noqa: E402


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add formulas, anchors as in the file view, and to the navigation the pages of ``docs`` that it does not name."""
    config.markdown_extensions.append(Formulas())
    config.mdx_configs["toc"]["slugify"] = slug
    known = set(named(config.nav))
    config.nav[-2:-2] = [path.name for path in sorted(Path(config.docs_dir).glob("*.md")) if path.name not in known]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the repository's root, and the results (figures, tables) that a page leads to."""
    links = [targets(file.src_uri, file.content_string) for file in files.documentation_pages()]
    results = {path for found in links for path in found if path.startswith("results/") and (ROOT / path).is_file()}
    for name in (*ROOT_PAGES, *sorted(results)):
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links between ``docs`` and the repository's root to where the site has them."""
    return LINK.sub(lambda match: led(match["path"], page.file.src_uri), markdown)


def led(link: str, page: str) -> str:
    """A link of a page, as it is in the repository, as it is on the site.

    Args:
        link: relative path, without a fragment.
        page: path of the page on the site.
    """
    target = in_repository(link, page)
    if page not in ROOT_PAGES and target.startswith("docs/"):
        return link
    return posixpath.relpath(target.removeprefix("docs/"), posixpath.dirname(page) or ".")


def in_repository(link: str, page: str) -> str:
    """What a page's link leads to, as a path from the repository's root; arguments as of ``led``."""
    here = page if page in ROOT_PAGES else f"docs/{page}"
    return posixpath.normpath(posixpath.join(posixpath.dirname(here), link))


def targets(page: str, markdown: str) -> list[str]:
    """All that a page leads to, as paths from the repository's root."""
    return [in_repository(match["path"], page) for match in LINK.finditer(markdown)]


def named(nav: Any) -> Iterator[str]:
    """The pages that a navigation names, at any depth."""
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from named(entry)


def slug(title: str, separator: str) -> str:
    """A heading's anchor as the repository's file view makes it: letters of any script, no run of hyphens joined."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", separator)
