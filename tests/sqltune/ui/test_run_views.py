"""One run in a browser: why it failed, its hosts and ranks, its timeline, its commands, and its news."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, expect

from sqltune.records import series
from sqltune.ui import live
from ssh_gang.progress import Progress


def test_a_run_that_failed_begins_with_the_cause(site, open_page):
    page = site.show(open_page, "broken")
    failure = page.get_by_role("region", name="Failed: train")
    expect(failure).to_contain_text("Rank 1 on host-b failed first: exit code 1 · at iteration 20 of 40")
    expect(failure).to_contain_text("Lower batch_size or max_length")
    expect(failure).to_contain_text("[host-b rank 1] torch.OutOfMemoryError: CUDA out of memory")
    expect(failure).to_contain_text("a retry resumes from iteration 10")
    failure.get_by_text("Last lines of host-b rank 1").click()
    expect(failure.get_by_label("Last lines of")).to_contain_text("<script>alert(2)</script>")


def test_a_run_that_preflight_refused_names_the_host_and_what_to_do(site, open_page):
    page = site.show(open_page, "refused")
    failure = page.get_by_role("region", name="Failed: preflight")
    expect(failure).to_contain_text("A host cannot do its part: host-b")
    expect(failure).to_contain_text("delete old runs there")


def test_a_run_that_succeeded_shows_no_failure(site, open_page):
    page = site.show(open_page, "whole")
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
    expect(page.get_by_role("region", name=re.compile("Failed"))).to_have_count(0)


def test_the_rank_that_failed_is_marked_and_its_lines_open_by_a_click(site, open_page):
    page = site.show(open_page, "broken")
    row = page.get_by_role("row", name=re.compile("failed first"))
    expect(row).to_contain_text("host-b")
    expect(row).to_contain_text("×1.45")
    row.get_by_role("button").click()
    lines = page.get_by_label(re.compile("Last lines of dag.* rank 1"))
    expect(lines).to_have_text("loading\n<script>alert(1)</script>")


def test_the_timeline_has_a_lane_for_each_attempt_and_a_table_behind_it(site, open_page):
    page = site.show(open_page, "broken")
    picture = page.get_by_role("img", name=re.compile("^Timeline: "))
    for lane in ("plan", "all_reduce · try1", "train · try1", "train · try2"):
        expect(picture).to_contain_text(lane)
    expect(page.get_by_text("4.0 ± 1.0 ms")).to_be_visible()
    page.get_by_text("Timeline as a table").click()
    table = page.get_by_role("table").filter(has=page.get_by_role("columnheader", name="Event"))
    expect(table).to_contain_text("resumed from step 10")
    expect(table).to_contain_text("checkpoint of step 10")
    expect(table.get_by_role("row", name=re.compile("train · try1.*rendezvous"))).to_be_visible()


def test_what_goodput_counts_is_said(site, open_page):
    page = site.show(open_page, "broken")
    # 10 steps of each attempt, 2 s each.
    goodput = page.get_by_text(re.compile(r"\d+ % \(40 s of"))
    expect(goodput).to_have_attribute("title", re.compile("steps that a later attempt took again are lost"))


def test_preflight_is_a_table_of_every_check_and_marks_what_differs(site, open_page):
    page = site.show(open_page, "broken", query={"view": "preflight"})
    expect(page.get_by_role("row", name="Free disk 420.5 GiB 20.0 GiB ok").first).to_be_visible()
    expect(page.get_by_role("row", name="peft 0.14.0 0.13.0")).to_have_class("differs")
    expect(page.get_by_role("row", name="torch 2.13.0 2.13.0")).not_to_have_class("differs")


def test_the_commands_can_be_copied(site, open_page):
    page = site.show(open_page, "broken", query={"view": "plan"})
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_text("train", exact=True).click()
    command = page.get_by_role("figure").filter(has_text="echo try2-c").first
    command.get_by_role("button", name="Copy").click()
    expect(command.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "cd ~/work\necho try2-c"


def test_the_lineage_leads_to_what_served(site, open_page):
    page = site.show(open_page, "whole", query={"view": "lineage"})
    expect(page.get_by_role("link", name="team/data")).to_have_attribute(
        "href", re.compile("/datasets/team/data/")
    )
    expect(page.get_by_role("row", name=re.compile("serves now"))).to_contain_text("a person")


def test_a_saved_report_has_the_failure_and_the_timeline(site, open_page, tmp_path):
    page = site.show(open_page, "broken")
    with page.expect_download() as download:
        page.get_by_role("link", name="Save as one HTML file").click()
    download.value.save_as(tmp_path / "report.html")
    saved = open_page(offline=True)
    saved.goto((tmp_path / "report.html").as_uri())
    expect(saved.get_by_role("region", name="Failed: train")).to_contain_text("Rank 1 on host-b")
    expect(saved.get_by_role("img", name=re.compile("^Timeline: "))).to_be_visible()
    saved.get_by_role("row", name=re.compile("failed first")).get_by_role("button").click()
    expect(saved.get_by_label(re.compile("Last lines of dag"))).to_contain_text("<script>alert(1)</script>")
    saved.get_by_role("tab", name="Preflight").click()
    expect(saved.get_by_role("row", name="peft 0.14.0 0.13.0")).to_be_visible()


def put_step(step: int, loss: float) -> None:
    """Record a step of the run `live`."""
    progress = Progress(step=step, total=1_000, loss=loss, lr=1e-4, seconds_per_step=3.0)
    series.put_iteration("live", "try2", datetime.now(UTC), progress)


def loss(page: Page, value: float):
    return page.get_by_role("img", name=f"Loss: {value}", exact=True)


def test_news_are_pushed_and_nothing_is_asked_for_again(site, open_page):
    page = site.show(open_page, "live")
    expect(page.get_by_role("img", name=re.compile("^Loss:"))).to_be_visible()
    asked = Counter()
    page.on("request", lambda request: asked.update([re.sub(r"\?.*", "", request.url).rpartition("/")[2]]))
    for step, value in ((501, 0.5), (502, 0.25), (503, 0.125)):
        put_step(step, value)
        expect(loss(page, value)).to_be_visible()
    assert set(asked) <= {"events", "live", "taskInstances"}


def test_where_no_stream_can_be_had_the_page_polls(site, open_page):
    page = open_page()
    page.route("**/events*", lambda route: route.fulfill(status=502, body="no streams here"))
    page.goto(site.address("live"))
    expect(page.get_by_role("img", name=re.compile("^Loss:"))).to_be_visible()
    put_step(601, 0.0625)
    expect(loss(page, 0.0625)).to_be_visible()


@pytest.mark.parametrize("hidden", [True, False])
def test_a_page_that_nobody_sees_holds_no_stream(site, open_page, hidden, monkeypatch):
    monkeypatch.setattr(live, "LIFETIME", 1.0)
    page = site.show(open_page, "live")
    expect(page.get_by_role("img", name=re.compile("^Loss:"))).to_be_visible()
    page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )
    streams = Counter()
    page.on("request", lambda request: streams.update([request.url]) if "/events" in request.url else None)
    value = 0.75 if hidden else 0.375
    put_step(701 if hidden else 801, value)
    # A stream lasts a second, then the browser opens the next one; a page that polls does so every two.
    page.wait_for_timeout(3_500)
    assert bool(streams) is not hidden
    expect(loss(page, value)).to_have_count(0 if hidden else 1)


def test_what_the_data_changed_is_shown_against_the_limits(site, open_page):
    page = site.show(open_page, "whole", query={"view": "dataCheck"})
    expect(page.get_by_text("A limit is exceeded; the run stopped")).to_be_visible()
    lost = "Questions that are gone max_lost 34 of 100 34.0 % 10.0 % not met"
    expect(page.get_by_role("row", name=lost)).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("max_invalid"))).to_contain_text("ok")
    expect(page.get_by_text("0 questions added, 34 gone, 1 with another answer")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("^t19 "))).to_contain_text("5")
    page.get_by_text("Some of the changed answers").click()
    expect(page.get_by_text("<script>alert(3)</script>").first).to_be_visible()


def test_from_the_data_to_the_questions_that_were_lost(site, open_page):
    page = site.show(open_page, "whole", query={"view": "dataCheck"})
    page.get_by_role("button", name="Lost").click()
    expect(page.get_by_role("option", name="lost")).to_be_visible()
    expect(page).to_have_url(re.compile("view=comparison&change=lost"))


def test_without_a_data_check_the_page_says_who_makes_it(site, open_page):
    page = site.show(open_page, "live", query={"view": "dataCheck"})
    expect(page.get_by_text("the task download_dataset does it")).to_be_visible()
