"""The access log, the request's id and the metrics."""

from __future__ import annotations

import pytest

from tests.node.door.conftest import KEYS
from tests.waiting import wait_until


def test_a_sane_id_is_taken_over(front, api):
    answer = front.ask(headers={"X-Request-Id": "req-42"})
    assert answer.headers["X-Request-Id"] == "req-42"
    assert api.ids == ["req-42"]


@pytest.mark.parametrize("wanted", ["", "a b", "x" * 129, '{"a":1}'])
def test_another_id_is_replaced(front, wanted):
    made = front.ask(headers={"X-Request-Id": wanted}).headers["X-Request-Id"]
    assert made != wanted
    assert len(made) == 32


def test_a_refusal_has_an_id_too(front):
    assert front.ask(key="another", headers={"X-Request-Id": "req-1"}).headers["X-Request-Id"] == "req-1"


def test_a_request_is_one_line(front):
    front.ask(headers={"X-Request-Id": "req-1"})
    (line,) = front.log()
    assert {name: line[name] for name in ("id", "key", "path", "model", "version", "status", "client")} == {
        "id": "req-1",
        "key": "web",
        "path": "/v1/completions",
        "model": "text2sql",
        "version": "7",
        "status": 200,
        "client": "127.0.0.1",
    }
    assert (line["prompt_tokens"], line["completion_tokens"]) == (3, 2)


def test_a_prompt_is_not_logged(front):
    front.ask("who earns most?")
    assert "prompt" not in front.log()[0]


def test_a_prompt_is_logged_where_the_settings_say_so(front):
    front.configure(log_prompts=True)
    front.ask("who earns most?")
    assert front.log()[0]["prompt"] == "who earns most?"


def test_no_key_is_logged(front):
    front.ask()
    front.ask(key="another")
    wait_until(lambda: len(front.lines) == 2)
    assert not [key for key in (*KEYS.values(), "another") if key in "".join(front.lines)]


def metrics(front, requests: int = 1) -> list[str]:
    """The metrics once this many requests are written down, which they are after their answers were sent."""
    wait_until(lambda: len(front.lines) == requests)
    with front.client() as client:
        return client.get("/metrics").text.splitlines()


def test_requests_are_counted_by_name_version_key_and_status(front):
    front.ask()
    front.ask(key="another")
    lines = metrics(front, 2)
    names = 'sqltune_door_requests_total{key="%s",model="%s",status="%s",version="%s"} 1.0'
    assert names % ("web", "text2sql", "200", "7") in lines
    assert names % ("", "", "401", "") in lines


def test_a_name_that_is_not_served_adds_no_series(front):
    front.ask(model="made-up")
    assert "made-up" not in "".join(metrics(front))


def test_tokens_are_counted(front):
    front.ask()
    front.ask()
    name = 'sqltune_door_tokens_total{key="web",kind="completion",model="text2sql",version="7"}'
    assert f"{name} 4.0" in metrics(front, 2)


def test_latencies_are_counted(front):
    front.ask()
    assert 'sqltune_door_request_seconds_count{model="text2sql",version="7"} 1.0' in metrics(front)


def test_no_request_is_in_flight_after_its_answer(front):
    front.ask()
    assert 'sqltune_door_requests_in_flight{key="web"} 0.0' in metrics(front)
