"""The page in a browser on runs of the lab: one is followed from its trigger on, through faults, to its end.

The tests of the training are in the order of the file, on one run, in one tab that is never loaded again.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser import Problems, log_in
from tests.chain.conftest import DAG
from tests.chain.training import Training

ITERATION = re.compile(rb"Iter\(train\) +\[ *(\d+)/")
ON_SCREEN = 2.0
"""Seconds after which an iteration is on the screen, at the latest."""


def open_run(lab, page: Page, run_id: str) -> Page:
    """Open a run's page, logged in."""
    airflow = lab.airflow
    log_in(page, airflow.url, airflow.token)
    page.goto(f"{airflow.url}/dags/{DAG}/runs/{quote(run_id, safe='')}/plugin/text2sql")
    return page


@pytest.fixture(scope="module")
def training(lab) -> Iterator[Training]:
    """A run that trains until it is stopped."""
    made = Training(lab, seed=78)
    yield made
    lab.supervisor("start", "api-server", "triggerer")
    if made.airflow.run_state(DAG, made.run) not in ("success", "failed"):
        made.mark_run("failed")
        made.until_nothing_is_left()


@pytest.fixture(scope="module")
def tab(lab, training, browser: Browser) -> Iterator[Page]:
    """A tab on the training, opened before there is anything to show."""
    problems = Problems()
    page = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-US").new_page()
    problems.watch(page)
    open_run(lab, page, training.run)
    page.evaluate("window.isSameTab = true")
    yield page
    assert page.evaluate("window.isSameTab"), "the page was loaded again"
    page.context.close()
    assert problems.found == []


def fact(page: Page, name: str) -> Locator:
    """The value of a fact in the head of the page."""
    return page.locator(".facts > div", has=page.get_by_text(name, exact=True)).locator("dd")


def shown_step(page: Page) -> int:
    """The newest step of the loss that is on the screen."""
    shown = page.get_by_role("figure").filter(has_text="Loss").get_by_role("status").inner_text()
    return int(re.search(r"\((\d+)\)", shown)[1])


def until_newer(page: Page, step: int, seconds: float = 300) -> int:
    """Wait until a newer step than this is on the screen; return it."""
    deadline = time.monotonic() + seconds
    while (shown := shown_step(page)) <= step:
        assert time.monotonic() < deadline, f"step {shown} is on the screen, after {seconds} s"
        page.wait_for_timeout(100)
    return shown


def test_a_run_that_was_promoted_shows_its_verdict_and_when_it_served(lab, open_page):
    page = open_run(lab, open_page(locale="en-US"), lab.first_run)
    expect(page.get_by_text("Verdict: passed")).to_be_visible()
    expect(fact(page, "State")).to_have_text("success")
    expect(page.get_by_role("figure").filter(has_text="Loss")).to_contain_text("(4)")
    page.get_by_role("tab", name="Lineage").click()
    expect(page.get_by_role("row", name=re.compile("passed the gate")).first).to_be_visible()


class Lines:
    """The iterations that a training prints on a host, with the time at which each line is there."""

    def __init__(self, training: Training) -> None:
        self._output = training.output_on("host-a")
        self._is_over = threading.Event()
        self.seen: dict[int, float] = {}

    def __enter__(self) -> dict[int, float]:
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()
        return self.seen

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _follow(self) -> None:
        with self._output.open("rb") as output:
            output.seek(0, 2)
            rest = b""
            while not self._is_over.wait(0.01):
                *lines, rest = (rest + output.read()).split(b"\n")
                for found in filter(None, map(ITERATION.search, lines)):
                    self.seen[int(found[1])] = time.time()


RECORD_STEPS = """
    window.shownSteps = [];
    new MutationObserver(() => {
        const shown = document.querySelector(".charts output").textContent.match(/\\((\\d+)\\)/);
        const step = shown ? Number(shown[1]) : 0;
        if (step !== window.shownSteps.at(-1)?.step) window.shownSteps.push({ step, at: Date.now() / 1000 });
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
"""


@pytest.fixture
def delays(training: Training, tab: Page) -> dict[int, float]:
    """Seconds from an iteration's line on the host until it is on the screen, for 20 iterations."""
    training.until_it_trains()
    expect(tab.get_by_role("img", name="Loss:")).to_be_visible()
    tab.evaluate(RECORD_STEPS)
    with Lines(training) as printed:
        last = until_newer(tab, shown_step(tab) + 20)
    shown = tab.evaluate("window.shownSteps")
    return {
        step: min(one["at"] for one in shown if one["step"] >= step) - at
        for step, at in printed.items()
        if step <= last
    }


def test_iterations_come_to_the_screen_while_it_trains(training, tab):
    training.until_it_trains()
    expect(tab.get_by_role("img", name="Loss:")).to_be_visible()
    for _ in range(3):
        until_newer(tab, shown_step(tab))


@pytest.mark.chaos
def test_an_iteration_is_on_the_screen_within_two_seconds_of_its_line_on_the_host(delays):
    """On a machine that does nothing else."""
    assert len(delays) >= 20
    assert max(delays.values()) < ON_SCREEN, delays


def test_what_runs_is_said_first(training, tab):
    expect(fact(tab, "State")).to_have_text("running")
    expect(tab.get_by_role("row", name=re.compile("^host-b 1 running"))).to_be_visible()


def test_the_tab_goes_on_when_the_api_server_restarts(training, tab):
    at = shown_step(tab)
    training.lab.supervisor("restart", "api-server")
    until_newer(tab, max(at, training.step))
    expect(tab.get_by_text("No answer from Airflow")).to_be_hidden()


def test_a_takeover_by_another_triggerer_is_marked_and_the_training_goes_on(training, tab):
    (before,) = training.attempts
    training.kill_triggerer()
    until_newer(tab, training.step + 10)
    assert training.attempts == [before]
    assert training.task["try_number"] == 1
    steps = [point.progress.step for point in training.iterations]
    assert steps == list(range(1, len(steps) + 1)), "a step was lost or recorded twice"
    expect(fact(tab, "State")).to_have_text("running")
    expect(tab.locator(".timeline .mark_taken_over")).to_have_count(1)


def test_a_run_whose_rank_was_killed_begins_with_the_cause(training, tab):
    training.kill_rank(1)
    failure = tab.get_by_role("region", name="Failed: train")
    expect(failure).to_contain_text(
        re.compile(r"Rank 1 on host-b failed first: killed by signal 9 · at iteration \d+ of 3000")
    )
    expect(failure).to_contain_text("a retry resumes from iteration")
    expect(tab.locator("#sqltune-view > *").first).to_have_accessible_name("Failed: train")


def test_the_cause_is_gone_and_the_resume_is_marked_once_the_retry_trains(training, tab):
    failed = training.iterations[0].attempt
    at = training.step
    retry = training.until_it_trains(besides=(failed,))
    expect(tab.get_by_role("region", name="Failed: train")).to_be_hidden()
    expect(tab.locator(".timeline .mark_resumed")).to_have_count(1)
    until_newer(tab, training.step)
    log = "\n".join(training.airflow.log(DAG, training.run, "train", 1))
    assert "host-b rank 1: killed by signal 9, before all others at iter" in log
    assert "a retry resumes from iteration" in log
    assert "last lines of host-b rank 1" in log
    again = "\n".join(training.airflow.log(DAG, training.run, "train", 2))
    assert "terminal_resubmit" in again
    assert "resuming from iteration" in again
    first = next(point for point in training.iterations if point.attempt == retry)
    # Checkpoints are two steps apart, and mmengine's last may not have been sealed yet.
    assert at - 4 <= first.progress.step <= training.step


def test_a_run_that_is_marked_as_failed_begins_with_the_stop(training, tab):
    training.mark_run("failed")
    expect(fact(tab, "State")).to_have_text("failed")
    failure = tab.get_by_role("region", name="Failed: train")
    expect(failure).to_contain_text("A person cleared it or marked it as failed or succeeded")
    expect(tab.locator(".timeline .mark_killed")).to_have_count(1)
    training.until_nothing_is_left()
    assert "marked as failed while it ran train" in training.lab.log_text(training.run, "finish")
