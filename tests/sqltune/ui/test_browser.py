"""The page in a browser, on recorded runs."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from sqltune.records import series
from sqltune.ui import live
from sqltune.ui.contracts import DAG_ID
from sqltune.ui.export import run_html
from ssh_gang.progress import Progress
from tests.sqltune.ui.gangs import Gang
from tests.sqltune.ui.recorded import AFTER, GOLD


def query(page: Page) -> dict[str, str]:
    """Parameters in the page's address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def questions(page: Page) -> Locator:
    """The rows of the list of questions."""
    return page.get_by_role("listbox", name=re.compile("question")).get_by_role("option")


def put_step(step: int, loss: float) -> None:
    """Record a step of the run `live`."""
    progress = Progress(step=step, total=1_000, loss=loss, lr=1e-4, seconds_per_step=3.0)
    series.put_iteration("live", "try2", datetime.now(UTC), progress)


def test_a_run_begins_with_its_verdict_and_its_facts(site, open_page):
    page = site.show(open_page, "whole")
    expect(page.get_by_text("Verdict: held back")).to_be_visible()
    expect(page.get_by_text("manual, admin")).to_be_visible()
    expect(page.get_by_role("img", name="Loss: 1")).to_be_visible()


def test_a_run_that_is_not_recorded_says_when_it_will_be(site, open_page):
    page = site.show(open_page, "unknown")
    expect(page.get_by_text("Nothing is recorded of this run yet.")).to_be_visible()


def test_a_host_shows_the_end_of_its_log(site, open_page):
    page = site.show(open_page, "whole")
    page.get_by_text("Logs (1)").click()
    page.get_by_role("button", name="train.try1.").click()
    expect(page.get_by_label("Last lines of train.try1.")).to_contain_text("<script>alert(1)</script>")


def test_arrow_keys_go_from_tab_to_tab(site, open_page):
    page = site.show(open_page, "whole")
    tabs = page.get_by_role("tab")
    tabs.first.focus()
    page.keyboard.press("ArrowRight")
    expect(tabs.nth(1)).to_be_focused()
    expect(tabs.nth(1)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("End")
    expect(tabs.last).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(tabs.first).to_be_focused()


def test_tabs_keep_up_with_fast_keys(site, open_page):
    """Two keys before the page has shown what the first of them chose."""
    page = site.show(open_page, "whole")
    tabs = page.get_by_role("tab")
    tabs.first.focus()
    page.evaluate("""() => {
        for (const key of ["End", "ArrowRight"])
            document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    }""")
    expect(tabs.first).to_be_focused()


def test_a_link_to_a_question_opens_it(site, open_page):
    page = site.show(open_page, "whole", query={"view": "comparison", "question": "lost"})
    article = page.get_by_role("article", name="lost")
    expect(article).to_be_in_viewport()
    expect(article).to_contain_text(GOLD["lost"])
    expect(article).to_contain_text(AFTER["lost"])


def test_j_and_k_go_through_the_questions(site, open_page):
    page = site.show(open_page, "suite", query={"view": "comparison", "question": "suite.5"})
    expect(page.get_by_role("article", name="suite.5")).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.get_by_role("article", name="suite.7")).to_be_visible()
    page.keyboard.press("k")
    expect(page.get_by_role("article", name="suite.6")).to_be_visible()
    assert query(page)["question"] == "suite.6"


def test_letters_typed_into_the_search_choose_no_question(site, open_page):
    page = site.show(open_page, "suite", query={"view": "comparison", "question": "suite.5"})
    page.get_by_role("searchbox", name="question").press_sequentially("kjk")
    assert query(page)["question"] == "suite.5"


def test_the_list_is_one_stop_of_the_tab_key_and_arrow_keys_go_through_it(site, open_page):
    page = site.show(open_page, "suite", query={"view": "comparison"})
    options = questions(page)
    expect(page.locator('[role="option"][tabindex="0"]')).to_have_count(1)
    options.first.focus()
    page.keyboard.press("ArrowDown")
    expect(options.nth(1)).to_be_focused()
    page.keyboard.press("End")
    expect(options.last).to_be_focused()
    expect(options.last).to_be_in_viewport()
    expect(options.last).to_have_attribute("aria-posinset", "2000")


def test_the_list_keeps_up_with_fast_keys(site, open_page):
    """Keys that come before the page has shown what the first of them chose, in and beyond what is drawn."""
    page = site.show(open_page, "suite", query={"view": "comparison"})
    options = questions(page)
    options.first.focus()
    press = """keys => keys.forEach(key =>
        document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true })))"""
    for keys, position in (
        (["ArrowDown"] * 3, "4"),
        (["End", "ArrowUp"], "1999"),
        (["Home", "ArrowDown"], "2"),
    ):
        page.evaluate(press, keys)
        chosen = page.locator('[role="option"][aria-selected="true"]')
        expect(chosen).to_have_attribute("aria-posinset", position)
        expect(chosen).to_be_focused()


def test_a_long_list_is_drawn_as_far_as_one_scrolls(site, open_page):
    page = site.show(open_page, "suite", query={"view": "comparison"})
    options = questions(page)
    expect(options.first).to_have_attribute("aria-setsize", "2000")
    assert options.count() < 200
    page.get_by_role("listbox").last.evaluate("list => list.scrollTop = list.scrollHeight / 2")
    middle = page.locator('[role="option"][aria-posinset="1001"]')
    expect(middle).to_be_attached()
    assert options.count() < 400


def test_a_link_to_a_question_far_down_the_list_shows_it_there(site, open_page):
    page = site.show(open_page, "suite", query={"view": "comparison", "question": "suite.1800"})
    expect(page.locator('[role="option"][aria-selected="true"]')).to_be_in_viewport()
    expect(page.get_by_role("article", name="suite.1800")).to_be_in_viewport()


def test_filters_narrow_the_list_and_stand_in_the_address(site, open_page):
    page = site.show(open_page, "suite", query={"view": "comparison"})
    page.get_by_role("button", name="Lost 200").click()
    page.get_by_label("Language").last.select_option("zh")
    page.get_by_role("searchbox", name="question").fill("> 9")
    heading = page.get_by_role("heading", name=re.compile("questions"))
    expect(heading).to_have_text("12 questions")
    expect(questions(page).first).to_contain_text("Lost")
    assert query(page).items() >= {("change", "lost"), ("language", "zh"), ("text", "> 9")}
    page.goto(page.url)
    expect(heading).to_have_text("12 questions")
    expect(page.get_by_role("searchbox", name="question")).to_have_value("> 9")


def test_a_filter_that_leaves_nothing_says_so(site, open_page):
    page = site.show(open_page, "whole", query={"view": "comparison", "text": "no such text"})
    expect(page.get_by_text("No question matches.")).to_be_visible()


@pytest.mark.parametrize(("locale", "tab"), [("en-GB", "Overview"), ("zh-CN", "概览"), ("de-DE", "Overview")])
def test_the_language_is_the_browsers_where_it_is_spoken(site, open_page, locale, tab):
    page = site.show(open_page, "whole", locale=locale)
    expect(page.get_by_role("tab", name=tab)).to_be_visible()


def test_a_language_that_was_chosen_stays(site, open_page):
    page = site.show(open_page, "whole")
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("tab", name="训练前后对比")).to_be_visible()
    page.reload()
    expect(page.get_by_role("tab", name="训练前后对比")).to_be_visible()


def test_arrow_keys_read_the_values_of_a_curve(site, open_page):
    page = site.show(open_page, "whole")
    page.get_by_role("img", name="Loss:").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    # Step 19 of 20.
    expect(page.get_by_role("figure").first).to_contain_text("1.05 (19)")


def test_a_curve_grows_while_the_run_is_under_way(site, open_page):
    page = site.show(open_page, "live")
    expect(page.get_by_role("img", name="Loss: 1", exact=True)).to_be_visible()
    put_step(21, 0.25)
    expect(page.get_by_role("img", name="Loss: 0.25", exact=True)).to_be_visible()


def test_a_curve_that_was_zoomed_into_stays_so_while_it_grows(site, open_page):
    page = site.show(open_page, "live")
    chart = page.get_by_role("img", name="Loss:")
    plot = chart.locator(".u-over").bounding_box()
    page.mouse.move(plot["x"] + plot["width"] * 0.5, plot["y"] + 20)
    page.mouse.down()
    page.mouse.move(plot["x"] + plot["width"] * 0.7, plot["y"] + 20)
    page.mouse.up()
    put_step(30, 0.125)
    expect(page.get_by_role("img", name="Loss: 0.125", exact=True)).to_be_visible()
    # The point in the middle of the plot is one of those that were chosen, not of the whole curve's.
    page.mouse.move(plot["x"] + plot["width"] * 0.99, plot["y"] + 20)
    expect(page.get_by_role("figure").first).to_contain_text(re.compile(r"\((1[2-6])\)"))


def test_while_the_server_is_away_the_page_says_so_and_then_it_goes_on(site, open_page):
    page = site.show(open_page, "live")
    expect(page.get_by_role("img", name="Loss:")).to_be_visible()
    page.context.set_offline(True)
    away = page.get_by_text("the page goes on by itself")
    expect(away).to_be_visible()
    expect(page.get_by_role("img", name="Loss:")).to_be_visible()
    put_step(31, 0.0625)
    page.context.set_offline(False)
    expect(page.get_by_role("img", name="Loss: 0.0625", exact=True)).to_be_visible()
    expect(away).to_be_hidden()


def test_a_stop_that_is_recorded_after_the_runs_end_is_shown(site, open_page):
    gang = Gang("train", "stopped")
    gang.launch("try1", 0)
    site.states["stopped"] = "running"
    page = site.show(open_page, "stopped")
    expect(page.get_by_text("running", exact=True).first).to_be_visible()
    site.ended_at["stopped"] = datetime.now(UTC).isoformat()
    site.states["stopped"] = "failed"
    expect(page.get_by_text("failed", exact=True).first).to_be_visible()
    gang.note("try1", "killed", 20)
    expect(page.get_by_role("region", name="Failed: train")).to_contain_text("A person cleared it")


def test_serving_an_earlier_version_is_said_as_airflows_form_takes_it(site, open_page):
    page = site.show(open_page, query={"cluster": "years"})
    versions = page.get_by_role("table").filter(has=page.get_by_role("button", name="Serve"))
    earlier = versions.get_by_role("row").filter(has=page.get_by_role("button", name="Serve")).first
    number = earlier.get_by_role("cell").or_(earlier.get_by_role("rowheader")).first.inner_text()
    earlier.get_by_role("button", name="Serve").click()
    how = page.get_by_role("region", name=f"Serve version {number}")
    expect(how.get_by_role("link")).to_have_attribute("href", re.compile("/dags/text2sql_promote$"))
    expect(how.get_by_label("Configuration JSON")).to_have_text(f'{{"cluster":"years","version":{number}}}')


def test_a_thousand_nights_of_history_are_shown(site, open_page):
    page = site.show(open_page, query={"cluster": "years"})
    expect(page.get_by_role("heading", name="Runs 1000")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("^334 "))).to_contain_text("serves now")


def test_a_saved_report_opens_without_a_server(site, open_page, tmp_path):
    page = site.show(open_page, "whole")
    with page.expect_download() as download:
        page.get_by_role("link", name="Save as one HTML file").click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    saved = open_page(offline=True)
    saved.goto(path.as_uri())
    expect(saved.get_by_text("Verdict: held back")).to_be_visible()
    saved.get_by_role("tab", name="Before and after").click()
    questions(saved).nth(2).click()
    expect(saved.get_by_role("article", name="lost")).to_contain_text(AFTER["lost"])


@pytest.mark.parametrize("airflow", ["https://airflow.example/team", ""])
def test_no_link_of_a_saved_report_leads_to_a_file(site, open_page, tmp_path, monkeypatch, airflow):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", airflow)
    (tmp_path / "report.html").write_text(run_html("broken", DAG_ID))
    saved = open_page(offline=True)
    saved.goto((tmp_path / "report.html").as_uri())
    links = set()
    for tab in saved.get_by_role("tab").all():
        tab.click()
        expect(tab).to_have_attribute("aria-selected", "true")
        expect(saved.get_by_text("Loading…")).to_have_count(0)
        links |= set(saved.get_by_role("link").evaluate_all("links => links.map(link => link.href)"))
    run = f"{airflow}/dags/{DAG_ID}/runs/broken"
    expected = {f"{run}/plugin/text2sql", f"{run}/tasks/train"} if airflow else set()
    assert {link for link in links if "/dags/" in link or link.startswith("file:")} == expected


def test_a_tab_that_is_open_for_long_does_not_grow(site, open_page, monkeypatch):
    # 330 updates, each at the next look at the run.
    monkeypatch.setattr(live, "POLL", 0.02)
    page = open_page()
    page.clock.install()
    page.goto(site.address("live"))
    loss = page.get_by_role("img", name="Loss:")
    expect(loss).to_be_visible()
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def update(first: int, last: int) -> None:
        for step in range(first, last):
            put_step(step, float(step))
            page.clock.run_for(2_000)
            expect(page.get_by_role("img", name=f"Loss: {step}", exact=True)).to_be_visible()

    def measured() -> dict[str, float]:
        session.send("HeapProfiler.collectGarbage")
        metrics = session.send("Performance.getMetrics")["metrics"]
        return {
            m["name"]: m["value"]
            for m in metrics
            if m["name"] in ("Nodes", "JSHeapUsedSize", "JSEventListeners")
        }

    update(100, 130)
    before = measured()
    update(130, 430)
    after = measured()
    assert after["Nodes"] <= before["Nodes"] + 50
    assert after["JSEventListeners"] <= before["JSEventListeners"] + 10
    # 300 points of four curves are some 50 KB.
    assert after["JSHeapUsedSize"] < before["JSHeapUsedSize"] + 1_000_000
