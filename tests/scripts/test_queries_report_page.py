"""The HTML report of optimize-queries.sh, read in a real browser as a person reads it."""

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from projects.findings import MEASURED, OTHER, RECENT_POSTS, forum, nothing, poisoned
from toolkit.queries.plans.measure import Node, Timing
from toolkit.queries.report.html import as_html
from toolkit.queries.result import Result

pytestmark = pytest.mark.any_sqlalchemy

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NO_BROWSER = "Chromium and chromedriver are not installed: NOBODY READS THE HTML REPORT."

# What is too faint: texts, and the fillings of bars, against what is behind them.
FAINT = """
const paint = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
function rgba(colour) {
  paint.clearRect(0, 0, 1, 1); paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1);
  return [...paint.getImageData(0, 0, 1, 1).data];
}
function behind(element) {
  for (let one = element; one; one = one.parentElement) {
    const colour = rgba(getComputedStyle(one).backgroundColor);
    if (colour[3] === 255) return colour;
    if (colour[3] !== 0) throw new Error("half transparent: " + one.className);
  }
  throw new Error("no background");
}
function light([r, g, b]) {
  const part = (value) => {
    value /= 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
}
function contrast(one, other) {
  const [dark, bright] = [light(one), light(other)].sort((a, b) => a - b);
  return (bright + 0.05) / (dark + 0.05);
}
const found = {texts: 0, bars: 0, faint: [], page: behind(document.body)};
for (const element of document.body.querySelectorAll("*")) {
  if (!element.checkVisibility() || element.closest("script")) continue;
  const style = getComputedStyle(element);
  const own = [...element.childNodes].some((one) => one.nodeType === 3 && one.data.trim());
  let ratio = 21, least = 0;
  if (element instanceof SVGElement) {
    if (!element.matches(".fill")) continue;
    found.bars += 1; least = 3; ratio = contrast(rgba(style.fill), behind(element));
  } else if (own) {
    found.texts += 1; least = 4.5; ratio = contrast(rgba(style.color), behind(element));
  }
  if (ratio < least) found.faint.push(`${element.className} ${ratio} ${element.textContent}`);
}
return found;
"""


# The driver's own idea of what can be seen knows closed details only as closed.
PRINTED = """
return [...document.querySelectorAll("{}")].filter((one) => one.checkVisibility()).length
"""


class Page:
    """The report in a browser, whose window has the given width."""

    def __init__(self, driver: webdriver.Chrome, folder: Path) -> None:
        self.driver = driver
        self.folder = folder

    def open(self, result: Result, *, width: int = 1200, scheme: str = "light") -> None:
        path = self.folder / "report.html"
        path.write_text(as_html(result), encoding="utf-8")
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.emulate(scheme=scheme)
        self.driver.get_log("browser")
        self.driver.get(path.as_uri())

    def emulate(self, *, scheme: str = "light", media: str = "") -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        wanted = {"features": features, "media": media}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def unfold(self) -> None:
        self.run("for (const one of document.querySelectorAll('details')) one.open = true")

    def visible(self, selector: str) -> list[str]:
        """The texts of what can be seen."""
        found = self.driver.find_elements(By.CSS_SELECTOR, selector)
        return [one.text for one in found if one.is_displayed()]

    def click(self, selector: str) -> None:
        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def check_quiet(self) -> None:
        """Nothing was loaded, and the console is empty: no error, nothing that was forbidden."""
        assert (
            self.run("return performance.getEntriesByType('resource').map((one) => one.name)") == []
        )
        assert self.driver.get_log("browser") == []


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if not (chromium and driver):
        if os.environ.get("REQUIRE_SYSTEM_DEPS") == "1":
            pytest.fail(NO_BROWSER)
        pytest.skip(NO_BROWSER)
    folder = tmp_path_factory.mktemp("page")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (*ARGUMENTS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield Page(browser, folder)
    finally:
        browser.quit()


def test_a_person_reads_what_was_found_where_and_what_to_do(page: Page) -> None:
    page.open(forum())
    assert page.driver.title == "Query report: forum"
    assert page.visible("h1") == ["forum"]
    assert page.visible(".verdict")[0].startswith("7 new findings: 3 proved, 2 measured")
    assert "PostgreSQL 15.18" in page.visible(".facts")[0]
    assert [text.split("\n")[:2] for text in page.visible(".tile")] == [
        ["3", "proved"],
        ["2", "measured"],
        ["2", "suspected"],
    ]
    assert page.visible(".costly .cost") == ["612 ms", "84.2 ms", "12.4 ms"]
    first = page.visible(".finding")[0]
    for words in (
        "Proved",
        "n-plus-one",
        "costs 612 ms",
        "The author of each post is loaded by a statement of its own.",
        "app/routers/posts.py:41 in list_posts · seen in GET /posts",
        "200 times the same statement in one request",
        "select(Post).options(selectinload(Post.author))",
        "bash scripts/optimize-queries.sh --run 'pytest -q' --verify",
    ):
        assert words in first
    (marked,) = page.visible("mark")
    assert marked.strip().startswith("PostOut(id=post.id")
    assert page.visible(".marked .line-number") == ["41"]
    assert len(page.visible(".finding")) == 7
    assert "201" in page.visible(".routes tbody tr")[0]
    assert "20 allowed" in page.visible(".routes tbody tr")[0]
    assert page.visible(".layers .left-out") == []
    page.check_quiet()


def test_a_click_opens_the_plan_before_and_after(page: Page) -> None:
    page.open(forum())
    assert page.visible(".node .label") == []
    page.click(f"#finding-{forum().findings.index(RECENT_POSTS) + 1} .plan > summary")
    assert page.visible("figcaption") == ["Before 84.2 ms, 1,181 pages", "After 0.338 ms, 11 pages"]
    before = page.visible("figure:first-child .label")
    assert before[0] == "Limit"
    assert before[-1] == "Seq Scan on posts"
    (hot,) = page.visible(".node.hot")
    assert "94%" in hot
    assert "100 rows, 2,500 estimated (25 times more)" in hot
    assert "removed 99,900 rows by its filter" in hot
    # As a tree: each node is further in than its parent.
    left = page.run(
        "return [...document.querySelectorAll('figure:first-child .node')]"
        ".map((one) => one.getBoundingClientRect().left)"
    )
    steps = [after - before for before, after in pairwise(left)]
    assert min(steps[:3]) > 8
    assert steps[3] == 0
    assert "249 times less" in page.visible("#finding-4 .comparison")[0]


def test_bars_are_as_long_as_their_numbers(page: Page) -> None:
    page.open(forum())
    shares = page.run(
        "return [...document.querySelectorAll('.changes li:first-child .meter')].map((one) =>"
        " one.querySelector('.fill').getBoundingClientRect().width /"
        " one.getBoundingClientRect().width)"
    )
    assert shares == pytest.approx([1, 2 / 201, 1, 5.1 / 631], abs=0.005)


def test_filters_leave_what_was_asked_for(page: Page) -> None:
    page.open(forum())
    assert page.visible(".shown") == ["7 of 7 shown"]
    page.click("label:has(#show-suspected)")
    assert page.visible(".shown") == ["5 of 7 shown"]
    page.click("label:has(#show-capture)")
    rules = page.visible(".finding .rule")
    assert rules == ["foreign-key-without-index", "missing-index", "slow-statement"]
    # By the keyboard, too.
    page.run("document.getElementById('show-suspected').focus()")
    page.driver.switch_to.active_element.send_keys(Keys.SPACE)
    assert page.visible(".shown") == ["5 of 7 shown"]


def test_the_keyboard_opens_a_plan_and_reaches_the_code(page: Page) -> None:
    page.open(forum())
    page.run("document.querySelector('.plan > summary').focus()")
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert page.visible("figcaption")
    page.driver.switch_to.active_element.send_keys(Keys.TAB)
    assert page.run("return document.activeElement.getAttribute('aria-label')") == "Plan: before"
    assert page.run(
        "return [...document.querySelectorAll('pre, .scroll')].every((one) => one.tabIndex === 0)"
    )


def test_the_copy_button_copies_the_fix(page: Page) -> None:
    page.open(forum())
    button = page.driver.find_element(By.CSS_SELECTOR, "#finding-4 .fix button")
    button.click()
    page.run(
        "const box = document.createElement('textarea'); box.id = 'box';"
        "document.querySelector('h1').after(box); box.focus()"
    )
    page.driver.switch_to.active_element.send_keys(Keys.CONTROL, "v")
    assert RECENT_POSTS.fix
    assert page.run("return document.getElementById('box').value") == RECENT_POSTS.fix.text
    assert button.text == "Copied"


def test_a_link_to_a_folded_finding_opens_it(page: Page) -> None:
    page.open(forum())
    page.run("location.hash = '#finding-7'")
    shown = page.visible("details.finding[open]")
    assert len(shown) == 1
    assert "select(func.count())" in shown[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_everything_is_legible_and_fits(page: Page, scheme: str, width: int) -> None:
    page.open(deep(), width=width, scheme=scheme)
    page.unfold()
    seen = page.run(FAINT)
    assert seen["faint"] == []
    assert seen["texts"] > 200
    assert seen["bars"] > 40
    assert (sum(seen["page"][:3]) < 150) == (scheme == "dark")
    sizes = page.run("return [document.documentElement.scrollWidth, innerWidth]")
    assert sizes[0] <= sizes[1] == width
    page.check_quiet()


def deep() -> Result:
    """With a plan of 25 levels, a long line of code and a word that has no end."""
    node = Node("Seq Scan on " + "p" * 120, ms=3.0)
    for level in range(25):
        node = Node(f"Nested Loop {level}", rows=level, ms=0.1, children=(node, OTHER.before.plan))
    measured = replace(MEASURED, before=Timing(84.2, 1181, node))
    long = replace(RECENT_POSTS, message="x" * 300, shape="SELECT " + "y, " * 300)
    known = frozenset({long.fingerprint})
    findings = (*forum().findings, long)
    return replace(
        forum(), findings=findings, measured=(measured, OTHER), known=forum().known | known
    )


def test_on_paper_everything_is_open_and_no_control_is_left(page: Page) -> None:
    page.open(forum(), scheme="dark")
    page.emulate(scheme="dark", media="print")
    assert page.run(PRINTED.format("figcaption")) == 3
    assert page.run(PRINTED.format("details.finding .fix")) == 1
    assert page.run(PRINTED.format("button, .filters, nav")) == 0
    assert sum(page.run(FAINT)["page"][:3]) == 765
    assert page.run(FAINT)["faint"] == []


@pytest.fixture
def without_script(page: Page) -> Iterator[None]:
    off = "Emulation.setScriptExecutionDisabled"
    page.driver.execute_cdp_cmd(off, {"value": True})
    yield
    page.driver.execute_cdp_cmd(off, {"value": False})


@pytest.mark.usefixtures("without_script")
def test_it_reads_and_filters_without_a_script(page: Page) -> None:
    page.open(forum())
    assert page.visible("button, .shown") == []
    page.click(".plan > summary")
    assert page.visible("figcaption")
    page.click("label:has(#show-plans)")
    assert len(page.visible(".finding")) == 6
    assert page.visible("figcaption") == []


def test_a_strangers_text_is_shown_and_does_nothing(page: Page) -> None:
    page.open(poisoned(forum()))
    page.unfold()
    assert page.run("return typeof hacked") == "undefined"
    assert page.visible("h1")[0].startswith("forum\\x1b[2J\\u202e</style></script><script>")
    assert len(page.visible(".finding")) == 8
    page.check_quiet()


def test_a_run_without_findings_says_what_was_not_looked_at(page: Page) -> None:
    page.open(nothing(), width=390)
    assert page.visible(".verdict") == ["Nothing was found. Not looked at: capture."]
    assert "neither --run nor --app was given" in page.visible(".layers .left-out")[0]
    assert page.visible(".filters, .finding, table, #requests") == []
    page.check_quiet()


class Elements(HTMLParser):
    """The elements of a page, and what could load something or run."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()
        self.loads: list[tuple[str, str, str | None]] = []
        self.ids: Counter[str] = Counter()
        self.headings: list[int] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] += 1
        if tag in {"h1", "h2", "h3", "h4", "h5", "h6"}:
            self.headings.append(int(tag[1]))
        for name, value in attrs:
            if name == "id":
                self.ids[str(value)] += 1
            if name in {"src", "srcset", "style", "action"} or name.startswith("on"):
                self.loads.append((tag, name, value))
            if name == "href" and value != "data:,":
                assert value
                assert value.startswith("#")


@pytest.mark.parametrize("change", [lambda result: result, poisoned, lambda _: nothing()])
def test_the_file_is_complete_and_holds_no_way_out(change: Callable[[Result], Result]) -> None:
    text = as_html(change(forum()))
    elements = Elements()
    elements.feed(text)
    elements.close()
    assert (elements.count["style"], elements.count["script"], elements.count["h1"]) == (1, 1, 1)
    assert elements.loads == []
    assert set(elements.ids.values()) == {1}
    assert "default-src &#x27;none&#x27;" in text
    assert "http://" not in text
    assert "https://" not in text
    assert all(after - before <= 1 for before, after in pairwise(elements.headings))
