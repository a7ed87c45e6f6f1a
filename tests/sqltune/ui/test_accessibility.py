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
    page.wait_for_load_state("networkidle")
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


NOT_REACHED = """selector => [...document.querySelectorAll(selector)]
    .filter(e => e.tabIndex >= 0 && e.checkVisibility() && !e.wasReached)
    .map(e => e.outerHTML.slice(0, 200))"""
REACH = """() => {
    const e = document.activeElement;
    e.wasReached = true;
    const isSeen = e === document.body || getComputedStyle(e).outlineStyle !== "none";
    return isSeen ? null : e.outerHTML.slice(0, 200);
}"""


@pytest.mark.parametrize("view", VIEWS)
def test_the_tab_key_reaches_everything_and_shows_where_it_is(site, open_page, view):
    page = show(site, open_page, view)
    pressed, without_outline = 0, []
    # What loads meanwhile is reached in the second round.
    while left := page.evaluate(NOT_REACHED, STOPS):
        assert pressed < 300, left
        page.keyboard.press("Tab")
        pressed += 1
        without_outline.append(page.evaluate(REACH))
    assert pressed > 3
    assert [found for found in without_outline if found] == []


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
