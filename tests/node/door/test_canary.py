"""A canary: the candidate answers its share, and no client is the worse for it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import door.tally
import door.trial
from door.trial_files import Arm, Counts, Trial
from tests.conftest import serving
from tests.node.door.conftest import NEW, OLD
from tests.node.door.tried import CANDIDATE, asked, counts, until_counted
from tests.waiting import wait_until


def test_the_candidate_answers_its_share(front, begin):
    """400 requests, of which 100 are expected: five standard deviations are 43."""
    begin("canary", 0.25)
    with front.client() as client:
        answers = [
            client.post(
                "/v1/completions",
                json={"model": "text2sql", "prompt": "x"},
                headers={"X-Request-Id": f"r-{number}"},
            )
            for number in range(400)
        ]
    versions = [answer.headers["X-Model-Version"] for answer in answers]
    assert 57 <= versions.count("8") <= 143
    assert versions.count("7") + versions.count("8") == 400
    texts = [answer.json()["choices"][0]["text"] for answer in answers]
    assert all((NEW in text) == (version == "8") for text, version in zip(texts, versions, strict=True)), (
        "the header names another model"
    )


def test_both_models_are_counted(front, begin):
    trial = begin("canary", 0.5)
    versions = [front.ask().headers["X-Model-Version"] for _ in range(20)]
    until_counted(front, trial, answered=versions.count("8"))
    wait_until(lambda: counts(front, trial).champion.answered == versions.count("7"))


def test_a_request_sent_again_under_its_id_has_the_same_model(front, begin):
    begin("canary", 0.5)
    again = {front.ask(headers={"X-Request-Id": "r"}).headers["X-Model-Version"] for _ in range(8)}
    assert len(again) == 1


def test_the_answer_has_the_name_that_was_asked_for(front, begin):
    begin("canary")
    assert front.ask().json()["model"] == "text2sql"
    assert front.ask(stream=True).text.count('"model":"text2sql"') == 2


@pytest.mark.parametrize("stream", [False, True])
def test_where_the_candidate_fails_the_champion_answers(front, begin, stream):
    trial = begin("canary")
    answer = front.ask(f"{NEW} fails", stream=stream)
    assert (answer.status_code, answer.headers["X-Model-Version"]) == (200, "7")
    assert until_counted(front, trial, failed=1).champion.answered == 0
    assert front.log()[0]["trial"] == "fallback"


def test_where_the_candidates_answer_cannot_be_read_the_champion_answers(front, begin):
    trial = begin("canary")
    answer = front.ask(f"{NEW} garbles", stream=True)
    assert (answer.status_code, answer.headers["X-Model-Version"]) == (200, "7")
    until_counted(front, trial, failed=1)


def test_where_the_candidate_hangs_the_champion_answers(front, begin):
    trial = begin("canary", answer_within=0.2)
    answer = front.ask(f"{NEW} hangs")
    assert (answer.status_code, answer.headers["X-Model-Version"]) == (200, "7")
    until_counted(front, trial, failed=1)


def test_a_stream_that_has_begun_may_take_longer(front, api, begin):
    """Its second event is held back for longer than the candidate has for the first."""
    trial = begin("canary", answer_within=0.3)
    began = time.monotonic()
    body = {"model": "text2sql", "prompt": "hold", "stream": True}
    with front.client() as client, client.stream("POST", "/v1/completions", json=body) as answer:
        parts = answer.iter_text()
        assert "SELECT" in next(parts)
        wait_until(lambda: time.monotonic() > began + 0.6)
        api.hold.set()
        assert " 1" in "".join(parts)
    assert answer.headers["X-Model-Version"] == "8"
    until_counted(front, trial, answered=1)


def test_a_stream_that_breaks_off_ends_with_an_error_and_is_a_failure(front, begin):
    """Some of it was sent: no other model can go on with it."""
    trial = begin("canary")
    answer = front.ask("break off", stream=True)
    assert answer.headers["X-Model-Version"] == "8"
    assert '"code": "upstream_error"' in answer.text
    until_counted(front, trial, failed=1)


def test_where_the_candidates_worker_is_gone_the_champion_answers(front, api, begin):
    """Nothing listens at its port: the failure is its own."""
    trial = begin("canary")
    api.unknown.add(NEW)
    answer = front.ask()
    assert (answer.status_code, answer.headers["X-Model-Version"]) == (200, "7")
    until_counted(front, trial, failed=1)


def test_where_the_controller_is_restarted_nobody_has_failed(front, api, begin):
    """The candidate's worker answers, and FastChat does not know it yet."""
    trial = begin("canary")
    with serving(api.app()) as url:
        front.serve(NEW, CANDIDATE, version=8, port=int(url.rpartition(":")[2]))
        api.unknown.add(NEW)
        assert front.ask().headers["X-Model-Version"] == "7"
        api.unknown.clear()
        front.ask()
    until_counted(front, trial, answered=1)


def test_where_the_candidate_was_stopped_the_champion_answers(front, begin):
    trial = begin("canary")
    front.ask()
    front.workers.remove(NEW)
    assert front.ask().headers["X-Model-Version"] == "7"
    until_counted(front, trial, answered=1)


def test_a_candidate_that_fails_again_and_again_is_left_alone(front, api, begin, monkeypatch):
    monkeypatch.setattr(door.tally, "FAILURES", 3)
    trial = begin("canary")
    for _ in range(6):
        assert front.ask(f"{NEW} fails").status_code == 200
    until_counted(front, trial, failed=3)
    assert len(asked(api, NEW)) == 3


def test_a_candidate_that_was_left_alone_is_asked_again_after_a_while(front, api, begin, monkeypatch):
    monkeypatch.setattr(door.tally, "FAILURES", 1)
    monkeypatch.setattr(door.tally, "PAUSE", 0.2)
    begin("canary")
    front.ask(f"{NEW} fails")
    wait_until(lambda: front.ask().headers["X-Model-Version"] == "8")


@pytest.mark.parametrize(("prompt", "status"), [("too long", 400), ("out of memory", 500)])
def test_what_neither_of_the_models_answers_counts_for_nobody(front, begin, prompt, status):
    trial = begin("canary")
    assert front.ask(prompt).status_code == status
    front.ask()
    assert until_counted(front, trial, answered=1).champion == Arm("champion")


@pytest.mark.parametrize("stream", [False, True])
def test_what_only_the_candidate_refuses_the_champion_answers(front, begin, stream):
    """The candidate's memory may have room for less."""
    trial = begin("canary")
    answer = front.ask(f"{NEW} has no room", stream=stream)
    assert (answer.status_code, answer.headers["X-Model-Version"]) == (200, "7")
    found = until_counted(front, trial, failed=1)
    assert (found.champion, found.candidate.version) == (Arm("champion"), "8")


def test_a_failure_is_counted_though_the_client_does_not_wait_for_the_champion(front, api, begin):
    trial = begin("canary")
    with pytest.raises(httpx.ReadTimeout):
        front.ask(f"{NEW} fails, {OLD} hangs", timeout=0.5)
    until_counted(front, trial, failed=1)


def begin_after_answers_of(front, begin, seconds: float) -> Trial:
    """Begin a canary whose champion has answered in so many seconds."""
    trial = begin("canary")
    before = Counts(trial.began)
    before.champion.add(seconds)
    before.write(front.folder)
    return trial


def test_a_client_that_gives_up_on_a_candidate_which_hangs_is_its_failure(front, begin, monkeypatch):
    """With less patience than `answer_within` none of its requests was counted, and it was promoted."""
    monkeypatch.setattr(door.trial, "LONG_AT_LEAST", 0.1)
    trial = begin_after_answers_of(front, begin, 0.01)
    with pytest.raises(httpx.ReadTimeout):
        front.ask(f"{NEW} hangs", timeout=0.5)
    assert until_counted(front, trial, failed=1).candidate.version == "8"


@pytest.mark.parametrize(("answered_in", "stream"), [(10, False), (0.01, True)])
def test_a_client_that_leaves_in_good_time_or_during_the_answer_is_nobodys(
    front, api, begin, monkeypatch, answered_in, stream
):
    monkeypatch.setattr(door.trial, "LONG_AT_LEAST", 0.1)
    trial = begin_after_answers_of(front, begin, answered_in)
    with pytest.raises(httpx.ReadTimeout):
        front.ask("hold", timeout=0.5, stream=stream)
    wait_until(lambda: front.lines)
    api.hold.set()
    front.ask()
    until_counted(front, trial, answered=1)


def test_a_client_that_has_gone_counts_for_nobody(front, api, begin):
    trial = begin("canary")
    with pytest.raises(httpx.ReadTimeout):
        front.ask("hold", timeout=0.3)
    assert api.left.wait(10)
    api.hold.set()
    front.ask()
    until_counted(front, trial, answered=1)


def test_a_request_that_took_all_its_time_is_the_candidates_failure(front, begin):
    front.configure(limits={"seconds": 0.3})
    trial = begin("canary")
    assert front.ask("hold", stream=True).headers["X-Model-Version"] == "8"
    until_counted(front, trial, failed=1)


def test_the_log_says_that_the_candidate_answered(front, begin):
    begin("canary")
    front.ask()
    assert (front.log()[0]["trial"], front.log()[0]["version"]) == ("canary", "8")


def test_answers_at_the_same_time_are_each_the_models_that_the_header_names(front, begin):
    begin("canary", 0.5)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: front.ask(), range(40)))
    programs = {"7": OLD, "8": NEW}
    for answer in answers:
        assert programs[answer.headers["X-Model-Version"]] in answer.json()["choices"][0]["text"]
