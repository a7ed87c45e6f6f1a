"""Who uses no mouse, a screen reader, large letters or dark colours can do all that the page offers."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

LOADED = {
    "overview": "figure",
    "comparison": "article",
    "plan": "table",
    "preflight": "table",
    "lineage": "table",
    "failed": "region",
    "history": "figure",
}
"""Views, and the role of what shows that each is loaded; `failed` is the overview of a run that failed."""
VIEWS = list(LOADED)
STOPS = 'a[href], button, input, select, textarea, [tabindex="0"]'
"""What the Tab key stops at, unless it is taken out of the order."""


def show(site, open_page, view: str, **options) -> Page:
    """Open a view, and wait for what it loads."""
    runs = {"history": None, "failed": "broken", "preflight": "broken", "comparison": "audited"}
    run = runs.get(view, "whole")
    page = site.show(open_page, run, query={"view": view, "cluster": "lab"}, **options)
    expect(page.get_by_role(LOADED[view]).first).to_be_visible()
    return page


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
@pytest.mark.parametrize("color_scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing_serious(site, open_page, view, color_scheme, locale):
    page = show(site, open_page, view, color_scheme=color_scheme, locale=locale)
    found = Axe().run(page).response["violations"]
    assert [
        (rule["id"], node["html"][:200], node["failureSummary"])
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ] == []


@pytest.mark.parametrize("view", VIEWS)
def test_the_tab_key_reaches_everything_and_shows_where_it_is(site, open_page, view):
    page = show(site, open_page, view)
    expected = page.evaluate(
        """selector => [...document.querySelectorAll(selector)]
            .filter(e => e.tabIndex >= 0 && e.checkVisibility())
            .map((e, i) => (e.dataset.stop = i, i))""",
        STOPS,
    )
    reached = []
    # A field for a date is one element and several stops.
    for _ in range(len(expected) + 8):
        page.keyboard.press("Tab")
        stop = page.evaluate(
            """() => {
                const e = document.activeElement;
                return [Number(e.dataset.stop ?? -1), getComputedStyle(e).outlineStyle !== "none"];
            }"""
        )
        reached.append(tuple(stop))
    assert {number for number, _ in reached} >= set(expected)
    assert [number for number, is_seen in reached if number >= 0 and not is_seen] == []


@pytest.mark.parametrize("view", VIEWS)
def test_at_twice_the_size_the_page_does_not_scroll_sideways(site, open_page, view):
    page = show(site, open_page, view, viewport={"width": 720, "height": 450}, device_scale_factor=2)
    assert wider_than_the_window(page) == []


@pytest.mark.parametrize("view", VIEWS)
def test_what_scrolls_at_twice_the_size_can_be_scrolled_by_keys(site, open_page, view):
    page = show(site, open_page, view, viewport={"width": 720, "height": 450}, device_scale_factor=2)
    found = Axe().run(page, options={"runOnly": ["scrollable-region-focusable"]}).response["violations"]
    assert [node["html"][:200] for rule in found for node in rule["nodes"]] == []


def wider_than_the_window(page: Page) -> list[str]:
    """The document and the page's own root, where they scroll sideways."""
    return page.evaluate(
        """() => [document.documentElement, document.body, document.querySelector(".sqltune")]
            .filter(e => e.scrollWidth > e.clientWidth + 1)
            .map(e => `${e.tagName} ${e.className}: ${e.scrollWidth} > ${e.clientWidth}`)"""
    )
