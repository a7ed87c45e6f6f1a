"""A trial as a whole: what takes part, its end, its files, a restart of the door, its metrics."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

import door.tally
from door.app import Door
from door.trial_files import COUNTS_FILE, FILE, Counts, read_counts
from tests.conftest import serving
from tests.node.door.conftest import INTERNAL, NEW, OLD
from tests.node.door.tried import CANDIDATE, asked, counts, until_counted
from tests.waiting import wait_until


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
def test_these_take_no_part(front, api, begin, mode, fields):
    begin(mode)
    front.ask(**fields)
    assert len(api.requests) == 1
    wait_until(lambda: front.lines)
    assert "trial" not in front.log()[0]


def test_without_a_trial_nothing_is_tried(front, api):
    front.serve(NEW, CANDIDATE, version=8)
    front.ask()
    assert [body["model"] for body in api.requests] == [OLD]
    assert not (front.folder / COUNTS_FILE).exists()


@pytest.mark.parametrize("mode", ["shadow", "canary"])
def test_a_trial_ends_by_itself(front, api, begin, mode):
    """Airflow may be away when its time is over."""
    begin(mode, until=time.time() - 1)
    assert front.ask().headers["X-Model-Version"] == "7"
    assert asked(api, NEW) == []


def test_a_trial_whose_file_is_removed_has_ended(front, api, begin):
    begin("canary")
    assert front.ask().headers["X-Model-Version"] == "8"
    (front.folder / FILE).unlink()
    assert front.ask().headers["X-Model-Version"] == "7"


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "3", "{}", '{"id": 1}', '{"until": "soon"}', "null"],
)
def test_a_file_that_is_no_trial_harms_nobody(front, begin, content):
    trial = begin("canary")
    whole = json.loads((front.folder / FILE).read_text())
    changed = json.dumps(whole | json.loads(content)) if content.startswith('{"') else content
    (front.folder / FILE).write_text(changed)
    assert front.ask().headers["X-Model-Version"] == "7"
    trial.write(front.folder)
    assert front.ask().headers["X-Model-Version"] == "8"


def test_a_door_that_is_restarted_goes_on_counting(front, begin):
    trial = begin("canary")
    front.ask()
    until_counted(front, trial, answered=1)
    with serving(Door(front.folder, front.socket, front.lines.append).app()) as url:
        front.url = url
        front.ask()
        until_counted(front, trial, answered=2)


def test_what_was_counted_is_written_when_the_door_is_stopped(front, begin, monkeypatch):
    trial = begin("canary")
    monkeypatch.setattr(door.tally, "SAVE_AFTER", 3600)
    with serving(Door(front.folder, front.socket, front.lines.append).app()) as url:
        front.url = url
        front.ask()
        assert counts(front, trial).candidate.answered == 0
    assert counts(front, trial).candidate.answered == 1


def test_an_answer_counts_for_the_trial_that_asked_for_it(front, api, begin):
    """The copy of one trial was counted for the next one."""
    begin("shadow")
    front.ask(f"{NEW} hangs")
    wait_until(lambda: asked(api, NEW))
    second = begin("shadow", began=time.time() + 1)
    front.ask(key=INTERNAL)
    until_counted(front, second)
    api.hold.set()
    wait_until(lambda: len(front.lines) == 3)
    front.ask()
    wait_until(lambda: len(front.lines) == 5)
    front.ask(f"{NEW} fails")
    until_counted(front, second, answered=1, failed=1)


def test_the_counts_of_a_trial_that_is_gone_are_not_written(front, begin, monkeypatch):
    begin("canary")
    monkeypatch.setattr(door.tally, "SAVE_AFTER", 3600)
    with serving(Door(front.folder, front.socket, front.lines.append).app()) as url:
        front.url = url
        front.ask()
        for name in (FILE, COUNTS_FILE):
            (front.folder / name).unlink()
    assert not (front.folder / COUNTS_FILE).exists()


def test_a_trial_that_was_marked_as_ended_sends_the_candidate_nothing(front, begin):
    trial = begin("canary")
    assert front.ask().headers["X-Model-Version"] == "8"
    replace(trial, began=0, until=0).write(front.folder)
    assert front.ask().headers["X-Model-Version"] == "7"


def test_another_trial_begins_from_nothing(front, begin):
    front_trial = begin("canary")
    front.ask()
    until_counted(front, front_trial, answered=1)
    second = begin("canary")
    front.ask(key=INTERNAL)
    until_counted(front, second)


def test_a_door_takes_a_trial_up_at_the_next_request_whoever_sends_it(front, begin):
    """So the script that begins a trial knows that the door which runs is not too old for it."""
    trial = begin("canary")
    assert read_counts(front.folder, trial) is None
    front.ask(key=INTERNAL)
    assert read_counts(front.folder, trial) == Counts(trial.began)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"began": 1}'])
def test_counts_that_cannot_be_read_begin_anew(front, begin, content):
    trial = begin("canary")
    (front.folder / COUNTS_FILE).write_text(content.replace("1", json.dumps(trial.began)))
    front.ask()
    until_counted(front, trial, answered=1)


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
