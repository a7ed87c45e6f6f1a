"""Names, questions, answers and logs that nobody means well do nothing on the page."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.sqltune.ui.large import HOSTILE, question_id
from tests.sqltune.ui.test_accessibility import wider_than_the_window

VIEWPORTS = [{"width": 1440, "height": 900}, {"width": 720, "height": 450}]


@pytest.fixture(params=VIEWPORTS, ids=["wide", "narrow"])
def show(request, site, open_page):
    """Open a view of the hostile run. That no script runs and no dialog opens, `open_page` checks."""

    def shown(view: str, **query: str) -> Page:
        return site.show(open_page, "hostile", query={"view": view} | query, viewport=request.param)

    return shown


def assert_text_is_text(page: Page) -> None:
    """No element came from the records, and none pushes the layout apart."""
    assert page.locator("img, iframe, svg[onload], script:not([src])").count() == 0
    assert wider_than_the_window(page) == []


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_question(show, number):
    page = show("comparison", question=question_id(HOSTILE[number]))
    expect(page.get_by_role("article")).to_be_visible()
    expect(page.get_by_role("article")).to_contain_text(HOSTILE[number].split("\n")[0].strip()[:40])
    assert_text_is_text(page)


def test_a_log(show):
    page = show("overview")
    page.get_by_text("Logs (").click()
    page.get_by_role("button", name="train.try2.").click()
    expect(page.get_by_label("Last lines of train.try2.")).to_contain_text("last line")
    assert_text_is_text(page)


def test_a_search(show):
    page = show("comparison", text=HOSTILE[0][:200])
    expect(page.get_by_role("searchbox", name="question")).to_have_value(HOSTILE[0][:200])
    assert_text_is_text(page)


def test_a_filter_from_the_address(show):
    page = show("comparison", language=HOSTILE[0], outcome=HOSTILE[3], database=HOSTILE[1])
    expect(page.get_by_text("No question matches.")).to_be_visible()
    assert_text_is_text(page)


def test_the_saved_report(show, open_page, tmp_path):
    page = show("comparison")
    with page.expect_download() as download:
        page.get_by_role("link", name="Save as one HTML file").click()
    download.value.save_as(tmp_path / "report.html")
    saved = open_page(offline=True)
    saved.goto((tmp_path / "report.html").as_uri())
    saved.get_by_role("tab", name="Before and after").click()
    expect(saved.get_by_role("article")).to_be_visible()
    assert saved.locator("img, iframe, svg[onload]").count() == 0
    assert wider_than_the_window(saved) == []


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>", "a\u202eb", "%00", "x" * 5_000])
def test_a_run_of_a_hostile_name_is_not_recorded(site, open_page, name):
    page = site.show(open_page, name)
    expect(page.get_by_text("Nothing is recorded of this run yet.")).to_be_visible()
