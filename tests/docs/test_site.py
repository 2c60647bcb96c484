"""The documentation site builds without a warning, and its pages load nothing from elsewhere."""

import importlib.util
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

import holdfast
from report.browser import CHROMIUM, Browser

from .pages import DOCS, ROOT

pytestmark = pytest.mark.slow
NEEDED = ("mkdocs", "material", "mkdocstrings", "mkdocstrings_handlers", "latex2mathml", "pymdownx")
LOADING = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "object": "data"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: pip install -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Loaded(HTMLParser):
    """What a browser would load for a page by itself."""

    def __init__(self, text):
        super().__init__()
        self.addresses = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        address = dict(attrs).get(LOADING.get(tag, ""))
        if address:
            self.addresses.append(address)


def test_addresses_are_found():
    page = '<script src="//a/b.js"></script><a href="https://c"></a><link rel="x" href="http://d">'
    assert Loaded(page).addresses == ["//a/b.js", "http://d"]


def test_every_page_is_on_the_site(site):
    sources = [page.relative_to(DOCS) for page in DOCS.rglob("*.md")]
    assert [page for page in sources if not (site / page.with_suffix(".html")).is_file()] == []
    assert (site / "CHANGELOG.html").is_file()


def test_pages_load_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        outside = [address for address in Loaded(page.read_text()).addresses if re.match(r"[a-z]+:|//", address)]
        assert outside == [], page
    for sheet in site.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:|//)", sheet.read_text()) == [], sheet


def test_formulas_are_mathml(site):
    page = (site / "api" / "methods.html").read_text()
    assert page.count('display="block"') >= 25
    assert ":math:" not in page
    assert ".. math::" not in page
    assert not re.search(r"\\(?:frac|sum|bar|nabla)", page)


def test_the_api_shows_what_the_package_offers(site):
    pages = "".join(page.read_text() for page in (site / "api").glob("*.html"))
    anchors = {name.rpartition(".")[2] for name in re.findall(r'id="(holdfast\.[\w.]+)"', pages)}
    assert set(holdfast.__all__) - anchors == set()
    assert not {name for name in anchors if name.startswith("_")}


def test_defaults_are_values(site):
    page = (site / "api" / "methods.html").read_text()
    assert "wanted ratio of the mean gradient norms" in page
    assert "hyper(" not in re.sub(r"<[^>]+>", "", page)


def test_links_between_the_folder_and_the_root_hold(site):
    assert 'href="ARCHITECTURE.html"' in (site / "index.html").read_text()
    assert 'href="methods/l2_sp.html"' in (site / "CONTRIBUTING.html").read_text()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium")
def test_a_browser_asks_nobody_else(site, tmp_path):
    browser = Browser(tmp_path)
    try:
        for name in ("index.html", "methods/ptr.html", "api/methods.html"):
            browser.open(site / name, width=390)
            assert [url for url in browser.requests() if re.match("(?:http|ws)s?:", url)] == []
            assert browser.run("document.documentElement.scrollWidth") <= 390  # nothing sticks out on a phone
    finally:
        browser.close()
