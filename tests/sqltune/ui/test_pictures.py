"""Pictures of the page for the docs, taken of the lab's demo: `make demo`, then `make pictures`.

While the demo trains, `make pictures` takes those of a running training, and leaves out the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from lab import credentials, settings, supervisor
from lab.airflow_api import Airflow
from sqltune.ui.contracts import DAG_ID
from tests.browser import OpenPage, log_in
from tests.conftest import ROOT

pytestmark = pytest.mark.pictures
FOLDER = ROOT / "docs" / "page"
LARGEST = 200_000
"""Bytes of a picture: every clone downloads it."""
PATIENCE_MS = 120_000
LOCALES = {"en": "en-US", "zh": "zh-CN"}
LOOKS = ["en-light", "zh-dark"]
HISTORY = "/plugin/text2sql-history"
EVERY_LOOK = [*LOOKS, "en-dark", "zh-light"]


@dataclass(frozen=True)
class Camera:
    """Takes pictures of Airflow's page."""

    airflow: Airflow
    open_page: OpenPage

    def show(self, path: str, look: str, height: int) -> Page:
        """Open a page in a language and a theme, such as `en-light`."""
        language, theme = look.split("-")
        page = self.open_page(viewport={"width": 1280, "height": height}, locale=LOCALES[language])
        page.add_init_script(f"localStorage.setItem('theme', '{theme}')")
        log_in(page, self.airflow.url, self.airflow.token)
        # A demo that trains leaves little of the machine to Airflow.
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        page.goto(self.airflow.url + path)
        return page

    def shoot(self, shown: Page | Locator, name: str) -> None:
        """Write a picture of a page's window, or of a part of a page, to docs/page."""
        taken = shown.screenshot(animations="disabled")
        assert len(taken) < LARGEST, f"{name}: {len(taken)} bytes; make the window smaller"
        (FOLDER / f"{name}.png").write_bytes(taken)


def questions(page: Page) -> Locator:
    """The rows of the list of questions."""
    return page.locator(".list").get_by_role("option")


def run_path(run_id: str, query: str = "") -> str:
    """Path of a run's page."""
    return f"/dags/{DAG_ID}/runs/{quote(run_id, safe='')}/plugin/text2sql{query}"


def newest(camera: Camera, state: str, accepts: Callable[[dict[str, Any]], bool], route: str = "") -> str:
    """Id of the newest run in a state of which the page's API says what is wanted; skips without one."""
    ended = camera.airflow.get(f"/dags/{DAG_ID}/dagRuns", state=state, order_by="-run_after")["dag_runs"]
    headers = {"Authorization": f"Bearer {camera.airflow.token}"}
    for run in ended:
        path = f"/sqltune/api/v1/runs/{quote(run['dag_run_id'], safe='')}{route}"
        answer = httpx.get(camera.airflow.url + path, headers=headers, timeout=60, trust_env=False)
        if answer.status_code == 200 and accepts(answer.json()):
            return str(run["dag_run_id"])
    pytest.skip(f"no such run has ended with {state}")


@pytest.fixture
def camera(open_page: OpenPage) -> Camera:
    """The Airflow of the lab that is up."""
    lab = settings.load()
    if lab is None or not supervisor.is_running():
        pytest.skip(f"no lab is up in {settings.LAB}: make demo")
    return Camera(Airflow(lab.airflow_url, credentials.USER, credentials.password()), open_page)


@pytest.fixture
def demo(camera: Camera) -> str:
    """Id of the newest run whose model passed."""
    return newest(camera, "success", lambda head: head["verdict"] == "passed")


@pytest.fixture
def training(camera: Camera) -> str:
    """Id of the run that trains now."""
    running = camera.airflow.get(f"/dags/{DAG_ID}/dagRuns", state="running")["dag_runs"]
    for run_id in (run["dag_run_id"] for run in running):
        train = camera.airflow.get(f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/train")
        if train["state"] == "deferred":
            return str(run_id)
    pytest.skip("no run trains now")


@pytest.mark.parametrize("look", LOOKS)
def test_a_training(camera, training, look):
    page = camera.show(run_path(training), look, height=860)
    expect(page.locator(".charts figure").first).to_be_visible()
    expect(page.locator(".timeline")).to_be_attached()
    camera.shoot(page, f"training-{look}")


@pytest.mark.parametrize("look", EVERY_LOOK)
def test_a_run(camera, demo, look):
    page = camera.show(run_path(demo), look, height=860)
    expect(page.locator(".charts figure").first).to_be_visible()
    expect(page.locator(".timeline")).to_be_attached()
    camera.shoot(page, f"run-{look}")


@pytest.mark.parametrize("look", LOOKS)
def test_the_chain(camera, demo, look):
    page = camera.show(run_path(demo).removesuffix("/plugin/text2sql"), look, height=700)
    # Collapsed while the Gantt chart is shown, the panel takes the chart's rows with it (Airflow 3.3.2).
    page.get_by_role("button", name=re.compile("^(Collapse Details Panel|收起详细信息)$")).click()
    expect(page.get_by_role("link", name="prune").first).to_be_visible()
    page.get_by_role("button", name=re.compile("^(Show Gantt|显示甘特图)")).first.click()
    expect(page.get_by_text("00:00:00", exact=True)).to_be_visible()
    expect(page.locator(f'a[href*="{demo}/tasks/train"]').nth(1)).to_be_in_viewport()
    camera.shoot(page, f"chain-{look}")


@pytest.mark.parametrize("look", LOOKS)
def test_a_comparison(camera, demo, look):
    page = camera.show(run_path(demo, "?view=comparison"), look, height=860)
    expect(questions(page).first).to_be_attached()
    camera.shoot(page, f"comparison-{look}")


@pytest.mark.parametrize("look", LOOKS)
def test_a_question_with_its_witness(camera, demo, look):
    page = camera.show(run_path(demo, "?view=comparison&change=both_wrong"), look, height=1300)
    question = page.get_by_role("article")
    expect(question.locator("section table").first).to_be_visible()
    # Its end may be below the fold of the page's own scroll area.
    question.evaluate("element => element.scrollIntoView()")
    camera.shoot(question, f"question-{look}")


@pytest.mark.parametrize("look", LOOKS)
def test_the_history(camera, demo, look):
    page = camera.show(HISTORY, look, height=700)
    expect(page.get_by_role("row").nth(1)).to_be_visible()
    camera.shoot(page, f"history-{look}")


@pytest.mark.parametrize("look", LOOKS)
def test_a_run_that_was_held_back(camera, look):
    """One is made by `make demo ARGS='{"dataset_revision": "mislabelled", "max_steps": 4}'`."""
    run = newest(camera, "success", lambda head: (head["verdict"] or "").startswith("held back"))
    page = camera.show(run_path(run, "?view=comparison&change=lost"), look, height=860)
    expect(questions(page).first).to_be_attached()
    camera.shoot(page, f"held-back-{look}")


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize(("name", "cause"), [("failed", "rank"), ("stopped", "person")])
def test_a_run_that_failed(camera, name, cause, look):
    """By the death of a rank (kill one twice: the first time, a retry goes on), or by Mark failed."""
    run = newest(camera, "failed", lambda answer: (answer["failure"] or {}).get("cause") == cause, "/failure")
    page = camera.show(run_path(run), look, height=620)
    expect(page.get_by_role("region", name=re.compile("train")).first).to_be_visible()
    expect(page.locator(".charts figure").first).to_be_visible()
    camera.shoot(page, f"{name}-{look}")


@pytest.mark.parametrize("look", LOOKS)
def test_the_revisions(camera, look):
    page = camera.show(HISTORY, look, height=600)
    boxes = page.get_by_role("row").get_by_role("checkbox")
    boxes.first.check()
    boxes.last.check()
    boxes.first.evaluate("box => box.closest('table').previousElementSibling.scrollIntoView()")
    camera.shoot(page, f"revisions-{look}")


@pytest.mark.parametrize("look", LOOKS)
def test_the_queue(camera, look):
    """With runs that wait behind a training: trigger some while the demo trains."""
    if not camera.airflow.get(f"/dags/{DAG_ID}/dagRuns", state="queued")["dag_runs"]:
        pytest.skip("no run is queued")
    page = camera.show(HISTORY, look, height=700)
    queue = page.get_by_role("region", name=re.compile("^(Queue|队列)$"))
    expect(queue.get_by_role("link").first).to_be_visible()
    camera.shoot(queue, f"queue-{look}")


@pytest.mark.parametrize("look", LOOKS)
def test_a_new_run(camera, look):
    page = camera.show(HISTORY, look, height=900)
    name = re.compile("^(New run|新建运行)$")
    page.get_by_role("button", name=name).click()
    panel = page.get_by_role("region", name=name)
    expect(panel.get_by_role("table").first).to_be_visible()
    camera.shoot(panel, f"new-run-{look}")


def test_the_form(camera):
    page = camera.show(f"/dags/{DAG_ID}", "en-light", height=1100)
    page.get_by_test_id("trigger-dag-button").click()
    form = page.get_by_role("dialog")
    expect(form.get_by_text("Preset", exact=True)).to_be_visible()
    camera.shoot(form, "form-en-light")
