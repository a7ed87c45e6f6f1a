"""The page in Airflow's own page, and who may read it: a real api-server on recorded runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import expect

from sqltune.ui.app import create_app
from sqltune.ui.contracts import DAG_ID
from tests.conftest import ROOT
from tests.sqltune.ui.airflow_server import ADDRESSES, RUN_ID, Server, start
from tests.sqltune.ui.recorded import AFTER

pytestmark = pytest.mark.slow
SECURITY = ROOT / "SECURITY.md"
__all__ = ["start"]


@pytest.fixture(scope="module")
def airflow(start) -> Iterator[Server]:
    """An Airflow that shows the page as its own, with the run triggered."""
    with start("tab") as server:
        answer = httpx.post(
            f"{server.url}/api/v2/dags/{DAG_ID}/dagRuns",
            headers={"Authorization": f"Bearer {server.token}"},
            json={"dag_run_id": RUN_ID, "logical_date": None, "conf": {}},
            timeout=60,
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        yield server


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"preset": "slow"}, "'slow' is not one of"),
        ({"promote": "perhaps"}, "'perhaps' is not one of"),
        ({"learning_rate": 1}, "1 is greater than the maximum of 0.01"),
        ({"max_steps": 0}, "0 is less than the minimum of 1"),
    ],
)
def test_a_value_that_the_form_does_not_offer_is_refused(airflow, conf, message):
    answer = httpx.post(
        f"{airflow.url}/api/v2/dags/{DAG_ID}/dagRuns",
        headers={"Authorization": f"Bearer {airflow.token}"},
        json={"logical_date": None, "conf": conf},
        timeout=60,
        trust_env=False,
    )
    assert answer.status_code == 400
    assert message in answer.text


@pytest.mark.parametrize("conf", [{"preset": "quick_look"}, {"preset": None, "promote": "ask"}])
def test_a_preset_is_accepted(airflow, conf):
    answer = httpx.post(
        f"{airflow.url}/api/v2/dags/{DAG_ID}/dagRuns",
        headers={"Authorization": f"Bearer {airflow.token}"},
        json={"logical_date": None, "conf": conf},
        timeout=60,
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text


def test_the_api_has_routes():
    assert len(ADDRESSES) > 10


def test_who_is_not_logged_in_reads_nothing(airflow):
    assert airflow.other_than(401) == {}


def test_what_airflow_answers_without_a_login_is_in_the_threat_model(airflow):
    document = httpx.get(f"{airflow.url}/openapi.json", timeout=60, trust_env=False).json()
    routes = [path for path, methods in document["paths"].items() if "get" in methods]
    assert len(routes) > 50
    answering = {path for path in routes if airflow.status(re.sub(r"\{\w+\}", "1", path)) not in (401, 403)}
    assert "/api/v2/monitor/health" in answering
    (row,) = re.findall(r"^\| the page's address without a login \|.*", SECURITY.read_text(), re.M)
    assert {path for path in answering if f"`{path}`" not in row} == set()


def test_who_may_not_read_the_dag_reads_nothing(airflow):
    assert airflow.other_than(403, airflow.token_without_role) == {}


def test_who_may_read_the_dag_reads_what_it_recorded(airflow):
    assert airflow.other_than(200, airflow.token) == {}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_changed(airflow, method):
    assert airflow.other_than(405, airflow.token, method) == {}


def test_only_the_built_app_and_its_empty_document_are_open():
    others = {route.path for route in create_app().routes if "/api/" not in route.path}
    assert others == {"/static", "/frame", "/frame/{dag_id}/{run_id}"}


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/redoc", "/api/v1", "/static/../app.py"])
def test_nothing_else_answers(airflow, path):
    assert airflow.status(f"/sqltune{path}") in (401, 404)


def test_a_run_of_airflow_has_the_tab(airflow, open_page):
    page = airflow.show(open_page, f"/dags/{DAG_ID}/runs/{RUN_ID}")
    page.get_by_role("link", name="Text-to-SQL", exact=True).click()
    expect(page.get_by_text("Verdict: held back")).to_be_visible()
    expect(page.get_by_role("img", name="Loss:")).to_be_visible()


def test_a_link_to_a_question_opens_it_in_airflow(airflow, open_page):
    query = "view=comparison&question=lost"
    page = airflow.show(open_page, f"/dags/{DAG_ID}/runs/{RUN_ID}/plugin/text2sql?{query}")
    expect(page.get_by_role("article", name="lost")).to_contain_text(AFTER["lost"])


RECORD_GAPS = """
    window.hadGap = false;
    new MutationObserver(() => (window.hadGap ||= !document.querySelector(".sqltune [role=tablist]")))
        .observe(document.body, { subtree: true, childList: true });
"""


def test_a_question_opens_without_loading_the_page_again(airflow, open_page):
    """Airflow builds the component of a plugin anew when the address changes for the first time."""
    page = airflow.show(open_page, f"/dags/{DAG_ID}/runs/{RUN_ID}/plugin/text2sql?view=comparison")
    question = page.get_by_role("option", name="lost")
    expect(question).to_be_visible()
    page.evaluate(RECORD_GAPS)
    question.click()
    expect(page.get_by_role("article", name="lost")).to_be_visible()
    assert not page.evaluate("window.hadGap")


def test_the_page_is_dark_where_airflow_is(airflow, open_page):
    page = airflow.show(open_page, f"/dags/{DAG_ID}/runs/{RUN_ID}/plugin/text2sql")
    page.evaluate("localStorage.setItem('theme', 'dark')")
    page.reload()
    expect(page.get_by_text("Verdict: held back")).to_be_visible()
    assert is_dark(page)


def test_the_navigation_leads_to_the_history_and_from_there_to_a_run(airflow, open_page):
    page = airflow.show(open_page, "/")
    page.get_by_role("link", name="Models").click()
    page.get_by_label("Cluster").select_option("lab")
    page.get_by_role("link", name=RUN_ID).first.click()
    expect(page.get_by_text("Verdict: held back")).to_be_visible()


def test_configuration_of_a_new_run_fills_in_airflows_own_form(airflow, open_page):
    page = airflow.show(open_page, "/", viewport={"width": 1280, "height": 1000})
    page.get_by_role("link", name="Models").click()
    page.get_by_role("button", name="New run").click()
    panel = page.get_by_role("region", name="New run")
    panel.get_by_label("Recipe").select_option("lab_tiny")
    panel.get_by_label("Preset").select_option("quick_look")
    expect(panel.get_by_role("row", name="Iterations")).to_contain_text("20")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    panel.get_by_role("button", name="Copy").click()
    expect(panel.get_by_role("button", name="Copied")).to_be_visible()
    panel.get_by_role("link", name="Open the DAG").click()
    page.get_by_test_id("trigger-dag-button").click()
    form = page.get_by_role("dialog")
    form.get_by_role("button", name="Advanced Options").click()
    # By the keyboard's way: a click may fall on the field that moves while the section opens.
    form.get_by_role("textbox", name="Editor content").focus()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.press("ControlOrMeta+V")
    form.get_by_role("textbox", name="Run ID").click()
    form.get_by_role("button", name="Run Parameters").click()
    expect(form.get_by_text("quick look", exact=True)).to_be_visible()


@pytest.fixture
def queued(airflow) -> Iterator[list[str]]:
    """Three runs that wait; the last one was triggered for an earlier moment than the others."""
    headers = {"Authorization": f"Bearer {airflow.token}"}
    runs = f"{airflow.url}/api/v2/dags/{DAG_ID}/dagRuns"
    moments = {"queued-b": "2026-11-02T00:00:00Z", "queued-c": "2026-11-03T00:00:00Z"}
    moments["queued-a"] = "2026-11-01T00:00:00Z"
    with httpx.Client(headers=headers, timeout=60, trust_env=False) as client:
        for run_id, moment in moments.items():
            body = {"dag_run_id": run_id, "logical_date": None, "run_after": moment, "conf": {}}
            client.post(runs, json=body).raise_for_status()
        yield sorted(moments)
        for run_id in moments:
            client.delete(f"{runs}/{run_id}").raise_for_status()


def test_the_queue_has_airflows_order(airflow, queued, open_page):
    page = airflow.show(open_page, "/plugin/text2sql-history")
    rows = page.get_by_role("region", name="Queue").get_by_role("row")
    expect(rows.filter(has_text="queued-c")).to_be_visible()
    shown = [row.locator("th, td").all_inner_texts() for row in rows.all()[1:4]]
    assert [[row[0], row[1]] for row in shown] == [[str(n + 1), run] for n, run in enumerate(queued)]
    assert shown[0][-1] == "It is about to start."
    assert shown[2][-1] == "Those before it come first."


def test_a_queued_run_says_its_place(airflow, queued, open_page):
    page = airflow.show(open_page, f"/dags/{DAG_ID}/runs/{queued[1]}/plugin/text2sql")
    expect(page.get_by_text("Place 2 in the queue: Those before it come first.")).to_be_visible()


def test_a_paused_dag_is_named_in_the_queue(airflow, queued, open_page):
    headers = {"Authorization": f"Bearer {airflow.token}"}
    with httpx.Client(headers=headers, timeout=60, trust_env=False) as client:
        address = f"{airflow.url}/api/v2/dags/{DAG_ID}"
        client.patch(address, json={"is_paused": True}).raise_for_status()
        try:
            page = airflow.show(open_page, "/plugin/text2sql-history")
            expect(page.get_by_text("The DAG is paused: nothing starts")).to_be_visible()
        finally:
            client.patch(address, json={"is_paused": False}).raise_for_status()


@pytest.fixture(scope="module")
def framed(airflow, start) -> Iterator[Server]:
    """The same Airflow with the page in a frame."""
    with start("frame") as server:
        yield server


def test_in_a_frame_the_address_of_the_page_is_that_of_the_question(framed, open_page):
    page = framed.show(open_page, f"/dags/{DAG_ID}/runs/{RUN_ID}")
    page.get_by_role("link", name="Text-to-SQL", exact=True).click()
    frame = page.frame_locator("iframe")
    frame.get_by_role("tab", name="Before and after").click()
    frame.get_by_role("option", name="lost").click()
    expect(frame.get_by_role("article", name="lost")).to_be_visible()
    page.wait_for_url("**/plugin/text2sql?view=comparison&question=lost")
    page.reload()
    expect(frame.get_by_role("article", name="lost")).to_be_visible()


def test_in_a_frame_a_link_opens_in_airflows_page(framed, open_page):
    page = framed.show(open_page, "/")
    page.get_by_role("link", name="Models").click()
    frame = page.frame_locator("iframe")
    frame.get_by_label("Cluster").select_option("lab")
    frame.get_by_role("link", name=RUN_ID).first.click()
    page.wait_for_url(f"**/dags/{DAG_ID}/runs/{quote(RUN_ID)}/plugin/text2sql")
    expect(frame.get_by_text("Verdict: held back")).to_be_visible()


def test_a_frame_is_dark_where_airflow_is(framed, open_page):
    page = framed.show(open_page, f"/dags/{DAG_ID}/runs/{RUN_ID}/plugin/text2sql")
    page.evaluate("localStorage.setItem('theme', 'dark')")
    page.reload()
    frame = page.frame_locator("iframe")
    expect(frame.get_by_text("Verdict: held back")).to_be_visible()
    assert is_dark(page.frame(url="**/sqltune/frame/**"))


def is_dark(page) -> bool:
    """Whether the app's background is darker than its text."""
    colors = page.locator(".sqltune").evaluate(
        """element => {
            const context = document.createElement("canvas").getContext("2d");
            return ["backgroundColor", "color"].map(name => {
                context.fillStyle = getComputedStyle(element)[name];
                context.fillRect(0, 0, 1, 1);
                return context.getImageData(0, 0, 1, 1).data.slice(0, 3).reduce((a, b) => a + b);
            });
        }"""
    )
    return colors[0] < colors[1]
