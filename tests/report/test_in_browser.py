"""The pages in a real browser: silent, self-sufficient, sortable, at home on a phone, in the dark and on paper."""

import base64
import json

import pytest

from holdfast.analysis.drawing import drawn
from holdfast.analysis.finding import Finding
from holdfast.report.comparison import write_comparison
from holdfast.report.document import write_report
from holdfast.report.run import write_run_report
from holdfast.report.svg import chart

from .browser import CHROMIUM, Browser
from .folders import make_pictures, make_run
from .grids import make_grid, recipe

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian's package: chromium)")

LONG = "a class with a very long name that will not fit on a phone, " * 2 + "not at all"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def run_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    classes = [LONG, *(f"class {number}" for number in range(1, 12))]
    make_pictures(folder / "data", make_run(folder, classes=classes, data=folder / "data"))
    return write_run_report(folder)


@pytest.fixture(scope="module")
def comparison_page(tmp_path_factory):
    results = [
        {"method": method, "seed": seed, "test.accuracy": 0.7 + 0.01 * (seed * step % 5) + 0.01 * step, "seconds": 3.0}
        for step, method in enumerate(("plain", "ptr(R=3, m=1, T=inf)", "dtnh(l2_sp(alpha=0.1))+rifle(periods=4)"))
        for seed in range(5)
    ]
    out = tmp_path_factory.mktemp("comparison") / "page.html"
    return write_comparison(results, out, title="Methods", notes=["A note."])


@pytest.fixture(scope="module")
def grid_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    columns = [f"data{number}" for number in range(5)]
    return write_report(make_grid(folder, recipe(columns=columns, seeds=7)))


@pytest.fixture(scope="module")
def mixture_page(tmp_path_factory):
    """Runs of two methods, and analyses whose files were tampered with."""
    folder = tmp_path_factory.mktemp("mixture")
    for method in ("plain", "ptr(R=3)"):
        for seed in range(2):
            make_run(folder / "runs" / f"{method}-{seed}", method=method, seed=seed, data=folder / "data")
    with chart(7, 3) as (figure, axes):
        axes.plot([0, 1], [0, 1])
        axes.set_xlabel("epoch")
        picture = drawn(figure, "line", label="A line that rises.", caption="One line.")
    path = Finding("example", "An analysis", "It rises.", {}, [picture], {"runs": 1}).write(folder / "analysis")
    hostile = picture.svg.replace(
        b"</svg>", b'<script>window.ran = 1</script><image href="http://127.0.0.1:9/x"/></svg>'
    )
    (path.parent / "line.svg").write_bytes(hostile)
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, "title": "<img src=x onerror='window.ran = 1'>"}), encoding="utf-8")
    return write_report(folder)


@pytest.fixture(scope="module", params=["run", "comparison", "grid", "mixture"])
def page(request):
    return request.getfixturevalue(f"{request.param}_page")


def first_cells(browser, table, column=0):
    rows = f"[...document.querySelectorAll('table')[{table}].tBodies[0].rows]"
    return browser.run(f"{rows}.map(row => row.cells[{column}].textContent)")


def click(browser, table, column):
    browser.run(f"document.querySelectorAll('table')[{table}].tHead.rows[0].cells[{column}].firstElementChild.click()")


def unfold(browser):
    browser.run("document.querySelectorAll('details').forEach(each => { each.open = true; })")


def press(browser, key, code):
    for kind in ("rawKeyDown", "char", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, text="\r")


def test_page_is_silent_and_asks_for_nothing(browser, page):
    browser.open(page)
    unfold(browser)
    assert browser.complaints() == []
    addresses = browser.requests()
    assert addresses[0] == page.as_uri()
    assert all(address.startswith("data:") for address in addresses[1:])


def test_policy_stops_a_foreign_script(browser, page):
    browser.open(page)
    browser.run("document.body.append(Object.assign(document.createElement('img'), {src: 'http://127.0.0.1:9/x'}))")
    browser.run("document.body.insertAdjacentHTML('beforeend', '<p id=p onclick=\"window.ran = 1\"></p>'); p.click()")
    assert browser.run("window.ran") is None
    assert any("Content Security Policy" in str(event) for event in browser.complaints())


def test_numbers_sort_both_ways_as_numbers(browser, run_page):
    browser.open(run_page)
    pairs = 0
    for wanted in (True, False):
        click(browser, pairs, 4)
        shares = [float(share) for share in first_cells(browser, pairs, 4)]
        assert shares == sorted(shares, reverse=wanted)
    head = "document.querySelectorAll('table')[0].tHead.rows[0].cells[4].getAttribute('aria-sort')"
    assert browser.run(head) == "ascending"


def test_the_keyboard_sorts_too(browser, grid_page):
    browser.open(grid_page)
    browser.run("document.querySelectorAll('table')[0].tHead.rows[0].cells[1].firstElementChild.focus()")
    head = "document.querySelectorAll('table')[0].tHead.rows[0].cells[1].getAttribute('aria-sort')"
    for wanted in ("descending", "ascending"):
        press(browser, "Enter", 13)
        assert browser.run(head) == wanted
        shown = [float(cell.partition(" ")[0]) for cell in first_cells(browser, 0, 1)]
        assert shown == sorted(shown, reverse=wanted == "descending")
        assert len(set(shown)) > 1


def test_nothing_in_a_tampered_analysis_runs(browser, mixture_page):
    browser.open(mixture_page)
    unfold(browser)
    assert browser.run("window.ran") is None
    shown = "document.querySelector('#analysis-0').parentElement"
    assert "<img src=x" in browser.run(f"{shown}.textContent")
    assert browser.run(f"{shown}.querySelectorAll('svg path').length") > 0


def test_an_analysis_turns_dark_with_the_page(browser, mixture_page):
    stroke = "getComputedStyle(document.querySelector('#analysis-0').parentElement.querySelector('svg text')).fill"
    browser.open(mixture_page)
    light = browser.run(stroke)
    browser.open(mixture_page, dark=True)
    assert browser.run(stroke) != light


def test_names_sort_as_a_reader_counts(browser, run_page):
    browser.open(run_page)
    per_class = 1
    before = first_cells(browser, per_class)
    click(browser, per_class, 0)
    assert first_cells(browser, per_class) == [LONG, *(f"class {number}" for number in range(1, 12))]
    click(browser, per_class, 0)
    assert first_cells(browser, per_class)[0] == "class 11"
    assert sorted(first_cells(browser, per_class)) == sorted(before)


def test_cells_of_mean_and_spread_sort_by_the_mean(browser, comparison_page):
    browser.open(comparison_page)
    click(browser, 0, 2)
    shown = [float(cell.partition(" ")[0]) for cell in first_cells(browser, 0, 2)]
    assert shown == sorted(shown, reverse=True)
    click(browser, 0, 3)
    assert first_cells(browser, 0, 3)[-1] == "–"  # the baseline has no gain: last in both directions
    click(browser, 0, 3)
    assert first_cells(browser, 0, 3)[-1] == "–"


@pytest.mark.parametrize("width", [320, 390, 1100])
def test_page_does_not_scroll_sideways(browser, page, width):
    browser.open(page, width=width)
    assert browser.run("document.documentElement.scrollWidth") <= width
    unfold(browser)
    assert browser.run("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [390, 1100])
def test_figures_stay_legible(browser, page, width):
    browser.open(page, width=width)
    unfold(browser)
    smallest = browser.run(
        "Math.min(...[...document.querySelectorAll('svg text')].map(text => { const m = text.getScreenCTM(); "
        "return parseFloat(getComputedStyle(text).fontSize) * Math.hypot(m.a, m.b); }))"
    )
    assert smallest >= 8


def test_dark_scheme_changes_paper_ink_and_figures(browser, page):
    look = (
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color, "
        "getComputedStyle(document.querySelector('svg text')).fill]"
    )
    browser.open(page)
    light = browser.run(look)
    browser.open(page, dark=True)
    assert all(one != other for one, other in zip(light, browser.run(look), strict=True))


def test_page_prints(browser, page):
    browser.open(page)
    printed = base64.b64decode(browser.call("Page.printToPDF")["data"])
    assert printed.startswith(b"%PDF")
    assert browser.complaints() == []
