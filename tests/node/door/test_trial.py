"""A candidate that is tried: copies of requests, a share of them, and no client the worse for it."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

import door.trial
import door.upstream
from door.app import Door
from door.trial_files import COUNTS_FILE, FILE, Arm, Counts, Trial, read_counts, read_trial
from tests.conftest import serving
from tests.node.door.conftest import INTERNAL, NEW, OLD
from tests.waiting import wait_until

CANDIDATE = "text2sql-new"
"""Served name of the candidate."""


@pytest.fixture
def begin(front, tmp_path, monkeypatch):
    """Begins a trial of version 8 beside version 7."""
    monkeypatch.setattr(door.trial, "SAVE_AFTER", 0.01)
    front.serve(NEW, CANDIDATE, version=8)

    def begin(mode: str, share: float = 1, **fields: Any) -> Trial:
        now = time.time()
        values = {"answer_within": 20.0, "began": now, "until": now + 600} | fields
        trial = Trial("run-1", mode, "text2sql", CANDIDATE, share, **values)
        trial.write(tmp_path)
        return trial

    return begin


def counts(front, trial: Trial) -> Counts:
    """What was counted; as it is written a moment later, nothing of it may be relied on at once."""
    return read_counts(front.folder, trial) or Counts(0)


def until_counted(front, trial: Trial, answered: int = 0, failed: int = 0) -> Counts:
    """The counts once the candidate has as many requests."""

    def counted() -> Counts | None:
        now = counts(front, trial)
        found = (now.candidate.answered, now.candidate.failed)
        return now if found == (answered, failed) else None

    return wait_until(counted, problem=lambda: counts(front, trial))


def asked(api, model: str) -> list[dict[str, Any]]:
    return [body for body in api.requests if body["model"] == model]


class TestShadow:
    def test_the_champion_answers_and_the_candidate_gets_a_copy(self, front, api, begin):
        trial = begin("shadow")
        answer = front.ask("who earns most?", max_tokens=7)
        assert answer.headers["X-Model-Version"] == "7"
        assert OLD in answer.json()["choices"][0]["text"]
        until_counted(front, trial, answered=1)
        (copy,) = asked(api, NEW)
        assert copy == {"model": NEW, "prompt": "who earns most?", "max_tokens": 7}

    def test_the_champions_answers_to_what_was_copied_are_counted(self, front, begin):
        trial = begin("shadow")
        front.ask()
        until_counted(front, trial, answered=1)
        both = wait_until(lambda: counts(front, trial) if counts(front, trial).champion.answered else None)
        assert both.champion.version == "7"
        assert (both.candidate.version, both.candidate.answered) == ("8", 1)
        assert both.champion.median > 0
        assert both.candidate.median > 0

    def test_a_copy_of_a_stream_is_none(self, front, api, begin):
        trial = begin("shadow")
        assert front.ask(stream=True, stream_options={"include_usage": True}).text.endswith("[DONE]\n\n")
        until_counted(front, trial, answered=1)
        (copy,) = asked(api, NEW)
        assert not {"stream", "stream_options"} & {*copy}

    def test_a_candidate_that_hangs_delays_nobody(self, front, api, begin):
        trial = begin("shadow")
        answers = [front.ask(f"{NEW} hangs", timeout=5) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        wait_until(lambda: len(asked(api, NEW)) == 3)
        api.hold.set()
        until_counted(front, trial, answered=3)

    def test_a_copy_without_an_answer_in_time_has_failed(self, front, begin):
        trial = begin("shadow", answer_within=0.2)
        assert front.ask(f"{NEW} hangs").status_code == 200
        until_counted(front, trial, failed=1)

    def test_a_candidate_that_fails_harms_nobody(self, front, begin):
        trial = begin("shadow")
        assert front.ask(f"{NEW} fails").status_code == 200
        until_counted(front, trial, failed=1)
        wait_until(lambda: counts(front, trial).champion.answered == 1)

    def test_what_only_the_candidate_refuses_is_its_failure(self, front, begin):
        trial = begin("shadow")
        assert front.ask(f"{NEW} has no room").status_code == 200
        until_counted(front, trial, failed=1)

    @pytest.mark.parametrize("prompt", ["too long", "out of memory"])
    def test_what_the_champion_does_not_answer_is_not_copied(self, front, api, begin, prompt):
        trial = begin("shadow")
        front.ask(prompt)
        front.ask()
        until_counted(front, trial, answered=1)
        assert len(asked(api, NEW)) == 1

    def test_a_failure_of_the_champion_is_counted_and_a_fault_of_a_request_is_not(self, front, begin):
        trial = begin("shadow")
        front.ask("too long")
        front.ask("out of memory")
        wait_until(lambda: counts(front, trial).champion.failed == 1)
        assert counts(front, trial).champion.answered == 0

    def test_copies_that_are_too_many_are_dropped(self, front, api, begin, monkeypatch):
        monkeypatch.setattr(door.trial, "COPIES", 2)
        trial = begin("shadow")
        for _ in range(5):
            assert front.ask(f"{NEW} hangs").status_code == 200
        wait_until(lambda: counts(front, trial).dropped == 3)
        api.hold.set()
        until_counted(front, trial, answered=2)

    @pytest.mark.parametrize("stream", [False, True])
    def test_greedy_answers_are_compared(self, front, begin, stream):
        trial = begin("shadow")
        front.ask("of one mind", temperature=0)
        front.ask("another", temperature=0, stream=stream)
        front.ask("of one mind")
        until_counted(front, trial, answered=3)
        wait_until(lambda: (counts(front, trial).same, counts(front, trial).different) == (1, 1))

    def test_the_texts_of_a_stream_are_compared_as_a_whole(self, front, begin):
        trial = begin("shadow")
        front.ask("of one mind", temperature=0, stream=True)
        until_counted(front, trial, answered=1)
        assert wait_until(lambda: counts(front, trial).same) == 1

    def test_chats_are_compared(self, front, begin):
        trial = begin("shadow")
        with front.client() as client:
            body = {"model": "text2sql", "messages": [], "temperature": 0}
            client.post("/v1/chat/completions", json=body)
        assert wait_until(lambda: counts(front, trial).different) == 1

    def test_the_log_says_what_was_copied_and_what_became_of_it(self, front, begin):
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


class TestCanary:
    def test_the_candidate_answers_its_share(self, front, begin):
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
        assert all(
            (NEW in text) == (version == "8") for text, version in zip(texts, versions, strict=True)
        ), "the header names another model"

    def test_both_models_are_counted(self, front, begin):
        trial = begin("canary", 0.5)
        versions = [front.ask().headers["X-Model-Version"] for _ in range(20)]
        until_counted(front, trial, answered=versions.count("8"))
        wait_until(lambda: counts(front, trial).champion.answered == versions.count("7"))

    def test_a_request_sent_again_under_its_id_has_the_same_model(self, front, begin):
        begin("canary", 0.5)
        again = {front.ask(headers={"X-Request-Id": "r"}).headers["X-Model-Version"] for _ in range(8)}
        assert len(again) == 1

    def test_the_answer_has_the_name_that_was_asked_for(self, front, begin):
        begin("canary")
        assert front.ask().json()["model"] == "text2sql"
        assert front.ask(stream=True).text.count('"model":"text2sql"') == 2

    @pytest.mark.parametrize("stream", [False, True])
    def test_where_the_candidate_fails_the_champion_answers(self, front, begin, stream):
        trial = begin("canary")
        answer = front.ask(f"{NEW} fails", stream=stream)
        assert (answer.status_code, answer.headers["X-Model-Version"]) == (200, "7")
        assert until_counted(front, trial, failed=1).champion.answered == 0
        assert front.log()[0]["trial"] == "fallback"

    def test_where_the_candidate_hangs_the_champion_answers(self, front, begin):
        trial = begin("canary", answer_within=0.2)
        answer = front.ask(f"{NEW} hangs")
        assert (answer.status_code, answer.headers["X-Model-Version"]) == (200, "7")
        until_counted(front, trial, failed=1)

    def test_a_stream_that_has_begun_may_take_longer(self, front, api, begin):
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

    def test_a_stream_that_breaks_off_ends_with_an_error_and_is_a_failure(self, front, begin):
        """Some of it was sent: no other model can go on with it."""
        trial = begin("canary")
        answer = front.ask("break off", stream=True)
        assert answer.headers["X-Model-Version"] == "8"
        assert '"code": "upstream_error"' in answer.text
        until_counted(front, trial, failed=1)

    def test_where_the_candidates_worker_is_gone_the_champion_answers(self, front, api, begin):
        """Nothing listens at its port: the failure is its own."""
        trial = begin("canary")
        api.unknown.add(NEW)
        answer = front.ask()
        assert (answer.status_code, answer.headers["X-Model-Version"]) == (200, "7")
        until_counted(front, trial, failed=1)

    def test_where_the_controller_is_restarted_nobody_has_failed(self, front, api, begin):
        """The candidate's worker answers, and FastChat does not know it yet."""
        trial = begin("canary")
        with serving(api.app()) as url:
            front.serve(NEW, CANDIDATE, version=8, port=int(url.rpartition(":")[2]))
            api.unknown.add(NEW)
            assert front.ask().headers["X-Model-Version"] == "7"
            api.unknown.clear()
            front.ask()
        until_counted(front, trial, answered=1)

    def test_where_the_candidate_was_stopped_the_champion_answers(self, front, begin):
        trial = begin("canary")
        front.ask()
        front.workers.remove(NEW)
        assert front.ask().headers["X-Model-Version"] == "7"
        until_counted(front, trial, answered=1)

    def test_a_candidate_that_fails_again_and_again_is_left_alone(self, front, api, begin, monkeypatch):
        monkeypatch.setattr(door.trial, "FAILURES", 3)
        trial = begin("canary")
        for _ in range(6):
            assert front.ask(f"{NEW} fails").status_code == 200
        until_counted(front, trial, failed=3)
        assert len(asked(api, NEW)) == 3

    def test_a_candidate_that_was_left_alone_is_asked_again_after_a_while(
        self, front, api, begin, monkeypatch
    ):
        monkeypatch.setattr(door.trial, "FAILURES", 1)
        monkeypatch.setattr(door.trial, "PAUSE", 0.2)
        begin("canary")
        front.ask(f"{NEW} fails")
        wait_until(lambda: front.ask().headers["X-Model-Version"] == "8")

    def test_a_fault_of_the_request_is_nobodys(self, front, begin):
        trial = begin("canary")
        assert front.ask("too long").status_code == 400
        front.ask()
        until_counted(front, trial, answered=1)

    def test_a_client_that_has_gone_counts_for_nobody(self, front, api, begin):
        trial = begin("canary")
        with pytest.raises(httpx.ReadTimeout):
            front.ask("hold", timeout=0.3)
        assert api.left.wait(10)
        api.hold.set()
        front.ask()
        until_counted(front, trial, answered=1)

    def test_a_request_that_took_all_its_time_is_the_candidates_failure(self, front, begin):
        front.configure(limits={"seconds": 0.3})
        trial = begin("canary")
        assert front.ask("hold", stream=True).headers["X-Model-Version"] == "8"
        until_counted(front, trial, failed=1)

    def test_the_log_says_that_the_candidate_answered(self, front, begin):
        begin("canary")
        front.ask()
        assert (front.log()[0]["trial"], front.log()[0]["version"]) == ("canary", "8")


class TestWhatTakesPart:
    @pytest.mark.parametrize(
        "fields",
        [
            {"model": CANDIDATE},
            {"key": INTERNAL},
            {"headers": {"X-Model-Worker": OLD}},
            {"headers": {"X-Model-Version": "7"}},
        ],
        ids=["another name", "the servers' own", "names its worker", "names its version"],
    )
    @pytest.mark.parametrize("mode", ["shadow", "canary"])
    def test_these_take_no_part(self, front, api, begin, mode, fields):
        begin(mode)
        front.ask(**fields)
        assert len(api.requests) == 1
        wait_until(lambda: front.lines)
        assert "trial" not in front.log()[0]

    def test_without_a_trial_nothing_is_tried(self, front, api):
        front.serve(NEW, CANDIDATE, version=8)
        front.ask()
        assert [body["model"] for body in api.requests] == [OLD]
        assert not (front.folder / COUNTS_FILE).exists()

    @pytest.mark.parametrize("mode", ["shadow", "canary"])
    def test_a_trial_ends_by_itself(self, front, api, begin, mode):
        """Airflow may be away when its time is over."""
        begin(mode, until=time.time() - 1)
        assert front.ask().headers["X-Model-Version"] == "7"
        assert asked(api, NEW) == []

    def test_a_trial_whose_file_is_removed_has_ended(self, front, api, begin):
        begin("canary")
        assert front.ask().headers["X-Model-Version"] == "8"
        (front.folder / FILE).unlink()
        assert front.ask().headers["X-Model-Version"] == "7"

    @pytest.mark.parametrize(
        "content",
        ["", "{", "[]", "3", "{}", '{"id": 1}', '{"until": "soon"}', "null"],
    )
    def test_a_file_that_is_no_trial_harms_nobody(self, front, begin, content):
        trial = begin("canary")
        whole = json.loads((front.folder / FILE).read_text())
        changed = json.dumps(whole | json.loads(content)) if content.startswith('{"') else content
        (front.folder / FILE).write_text(changed)
        assert front.ask().headers["X-Model-Version"] == "7"
        trial.write(front.folder)
        assert front.ask().headers["X-Model-Version"] == "8"


class TestRestart:
    def test_a_door_that_is_restarted_goes_on_counting(self, front, begin):
        trial = begin("canary")
        front.ask()
        until_counted(front, trial, answered=1)
        with serving(Door(front.folder, front.socket, front.lines.append).app()) as url:
            front.url = url
            front.ask()
            until_counted(front, trial, answered=2)

    def test_what_was_counted_is_written_when_the_door_is_stopped(self, front, begin, monkeypatch):
        trial = begin("canary")
        monkeypatch.setattr(door.trial, "SAVE_AFTER", 3600)
        with serving(Door(front.folder, front.socket, front.lines.append).app()) as url:
            front.url = url
            front.ask()
            assert counts(front, trial).candidate.answered == 0
        assert counts(front, trial).candidate.answered == 1

    def test_another_trial_begins_from_nothing(self, front, begin):
        front_trial = begin("canary")
        front.ask()
        until_counted(front, front_trial, answered=1)
        second = begin("canary")
        front.ask(key=INTERNAL)
        until_counted(front, second)

    def test_a_door_takes_a_trial_up_at_the_next_request_whoever_sends_it(self, front, begin):
        """So the script that begins a trial knows that the door which runs is not too old for it."""
        trial = begin("canary")
        assert read_counts(front.folder, trial) is None
        front.ask(key=INTERNAL)
        assert read_counts(front.folder, trial) == Counts(trial.began)

    @pytest.mark.parametrize("content", ["", "{}", "[]", '{"began": 1}'])
    def test_counts_that_cannot_be_read_begin_anew(self, front, begin, content):
        trial = begin("canary")
        (front.folder / COUNTS_FILE).write_text(content.replace("1", json.dumps(trial.began)))
        front.ask()
        until_counted(front, trial, answered=1)


class TestFiles:
    def test_a_trial_is_read_as_it_is_written(self, tmp_path):
        trial = Trial("run-1", "canary", "text2sql", CANDIDATE, 0.5, 60, 1.5, 2.5)
        trial.write(tmp_path)
        assert read_trial(tmp_path) == trial
        assert (tmp_path / FILE).stat().st_mode & 0o077 == 0

    def test_a_field_of_a_newer_version_is_left_aside(self, tmp_path):
        trial = Trial("run-1", "canary", "text2sql", CANDIDATE, 0.5, 60)
        trial.write(tmp_path)
        (tmp_path / FILE).write_text(json.dumps(json.loads((tmp_path / FILE).read_text()) | {"new": 1}))
        assert read_trial(tmp_path) == trial

    def test_counts_are_read_as_they_are_written(self, tmp_path):
        trial = Trial("run-1", "canary", "text2sql", CANDIDATE, 0.5, 60, began=9)
        written = Counts(9, same=3, dropped=1)
        written.candidate.add(0.5)
        written.write(tmp_path)
        assert read_counts(tmp_path, trial) == written

    def test_the_median_is_that_of_the_answers_within_a_fortieth(self):
        arm = Arm("candidate")
        assert arm.median is None
        for seconds in (0.00001, 0.1, 1.0, 1.3, 700.0):
            arm.add(seconds)
        assert arm.median == pytest.approx(1.0, rel=0.025)

    def test_the_share_is_drawn_from_each_id(self):
        trial = Trial("run-1", "canary", "text2sql", CANDIDATE, 0.25, 60)
        chosen = sum(trial.chooses(f"r-{number}") for number in range(4000))
        assert 863 <= chosen <= 1137, "five standard deviations of 1000 are 137"


def test_what_both_models_did_is_in_the_metrics(front, begin):
    trial = begin("shadow")
    front.ask("of one mind", temperature=0)
    front.ask(f"{NEW} fails")
    until_counted(front, trial, answered=1, failed=1)
    with front.client() as client:
        lines = client.get("/metrics").text.splitlines()
    name = 'sqltune_door_trial_requests_total{outcome="%s",role="%s",version="%s"} %.1f'
    assert name % ("answered", "champion", "7", 2) in lines
    assert name % ("answered", "candidate", "8", 1) in lines
    assert name % ("failed", "candidate", "8", 1) in lines
    assert 'sqltune_door_trial_request_seconds_count{role="candidate",version="8"} 1.0' in lines
    assert 'sqltune_door_trial_compared_total{same="yes"} 1.0' in lines


def test_answers_at_the_same_time_are_each_the_models_that_the_header_names(front, begin):
    begin("canary", 0.5)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: front.ask(), range(40)))
    programs = {"7": OLD, "8": NEW}
    for answer in answers:
        assert programs[answer.headers["X-Model-Version"]] in answer.json()["choices"][0]["text"]
