"""A shadow: copies of requests, of which no client is to notice anything."""

from __future__ import annotations

import pytest

import door.tally
import door.trial
from tests.node.door.conftest import NEW, OLD
from tests.node.door.tried import asked, counts, until_counted
from tests.waiting import wait_until


def test_the_champion_answers_and_the_candidate_gets_a_copy(front, api, begin):
    trial = begin("shadow")
    answer = front.ask("who earns most?", max_tokens=7)
    assert answer.headers["X-Model-Version"] == "7"
    assert OLD in answer.json()["choices"][0]["text"]
    until_counted(front, trial, answered=1)
    (copy,) = asked(api, NEW)
    assert copy == {"model": NEW, "prompt": "who earns most?", "max_tokens": 7}


def test_the_champions_answers_to_what_was_copied_are_counted(front, begin):
    trial = begin("shadow")
    front.ask()
    until_counted(front, trial, answered=1)
    both = wait_until(lambda: counts(front, trial) if counts(front, trial).champion.answered else None)
    assert both.champion.version == "7"
    assert (both.candidate.version, both.candidate.answered) == ("8", 1)
    assert both.champion.median > 0
    assert both.candidate.median > 0


def test_a_copy_of_a_stream_is_none(front, api, begin):
    trial = begin("shadow")
    assert front.ask(stream=True, stream_options={"include_usage": True}).text.endswith("[DONE]\n\n")
    until_counted(front, trial, answered=1)
    (copy,) = asked(api, NEW)
    assert not {"stream", "stream_options"} & {*copy}


def test_a_candidate_that_hangs_delays_nobody(front, api, begin):
    trial = begin("shadow")
    answers = [front.ask(f"{NEW} hangs", timeout=5) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    wait_until(lambda: len(asked(api, NEW)) == 3)
    api.hold.set()
    until_counted(front, trial, answered=3)


def test_a_copy_without_an_answer_in_time_has_failed(front, begin):
    trial = begin("shadow", answer_within=0.2)
    assert front.ask(f"{NEW} hangs").status_code == 200
    until_counted(front, trial, failed=1)


def test_a_candidate_that_fails_harms_nobody(front, begin):
    trial = begin("shadow")
    assert front.ask(f"{NEW} fails").status_code == 200
    until_counted(front, trial, failed=1)
    wait_until(lambda: counts(front, trial).champion.answered == 1)


def test_an_answer_that_cannot_be_read_is_a_failure(front, begin):
    trial = begin("shadow")
    assert front.ask(f"{NEW} garbles").status_code == 200
    until_counted(front, trial, failed=1)


def test_what_only_the_candidate_refuses_is_its_failure(front, begin):
    trial = begin("shadow")
    assert front.ask(f"{NEW} has no room").status_code == 200
    until_counted(front, trial, failed=1)


@pytest.mark.parametrize("prompt", ["too long", "out of memory"])
def test_what_the_champion_does_not_answer_is_not_copied(front, api, begin, prompt):
    trial = begin("shadow")
    front.ask(prompt)
    front.ask()
    until_counted(front, trial, answered=1)
    assert len(asked(api, NEW)) == 1


def test_a_failure_of_the_champion_is_counted_and_a_fault_of_a_request_is_not(front, begin):
    trial = begin("shadow")
    front.ask("too long")
    front.ask("out of memory")
    wait_until(lambda: counts(front, trial).champion.failed == 1)
    assert counts(front, trial).champion.answered == 0


def test_copies_that_are_too_many_are_dropped(front, api, begin, monkeypatch):
    monkeypatch.setattr(door.trial, "COPIES", 2)
    trial = begin("shadow")
    for _ in range(5):
        assert front.ask(f"{NEW} hangs").status_code == 200
    wait_until(lambda: counts(front, trial).dropped == 3)
    api.hold.set()
    assert until_counted(front, trial, answered=2).champion.answered == 2, "counted without a copy"


def test_while_the_candidate_is_left_alone_the_champion_is_not_counted(front, begin, monkeypatch):
    monkeypatch.setattr(door.tally, "FAILURES", 1)
    trial = begin("shadow")
    front.ask(f"{NEW} fails")
    until_counted(front, trial, failed=1)
    front.ask()
    front.ask("out of memory")
    # Three requests, and a copy.
    wait_until(lambda: len(front.lines) == 4)
    with front.client() as client:
        lines = client.get("/metrics").text.splitlines()
    counted = [line for line in lines if "trial_requests_total" in line and 'role="champion"' in line]
    assert counted == [
        'sqltune_door_trial_requests_total{outcome="answered",role="champion",version="7"} 1.0'
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_greedy_answers_are_compared(front, begin, stream):
    trial = begin("shadow")
    front.ask("of one mind", temperature=0)
    front.ask("another", temperature=0, stream=stream)
    front.ask("of one mind")
    until_counted(front, trial, answered=3)
    wait_until(lambda: (counts(front, trial).same, counts(front, trial).different) == (1, 1))


def test_the_texts_of_a_stream_are_compared_as_a_whole(front, begin):
    trial = begin("shadow")
    front.ask("of one mind", temperature=0, stream=True)
    until_counted(front, trial, answered=1)
    assert wait_until(lambda: counts(front, trial).same) == 1


def test_chats_are_compared(front, begin):
    trial = begin("shadow")
    with front.client() as client:
        body = {"model": "text2sql", "messages": [], "temperature": 0}
        client.post("/v1/chat/completions", json=body)
    assert wait_until(lambda: counts(front, trial).different) == 1


def test_the_log_says_what_was_copied_and_what_became_of_it(front, begin):
    front.configure(log_prompts=True)
    begin("shadow")
    front.ask(f"{NEW} fails", headers={"X-Request-Id": "r-1"})
    wait_until(lambda: len(front.lines) == 2)
    lines = {line["trial"]: line for line in front.log()}
    assert {name: lines["shadow"][name] for name in ("id", "version", "status")} == {
        "id": "r-1",
        "version": "7",
        "status": 200,
    }
    assert {name: lines["copy"][name] for name in ("id", "version", "status")} == {
        "id": "r-1",
        "version": "8",
        "status": 500,
    }
