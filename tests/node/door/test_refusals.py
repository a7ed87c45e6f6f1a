"""What the door refuses, and in which shape."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import door.app
from tests.node.door.conftest import INTERNAL
from tests.waiting import wait_until


def error(answer: httpx.Response) -> dict[str, str]:
    return answer.json()["error"]


@pytest.mark.parametrize(
    ("key", "message"), [(None, "there is no API key"), ("another", "the API key is wrong")]
)
def test_a_request_without_a_key_of_the_list_is_refused(front, api, key, message):
    answer = front.ask(key=key)
    assert (answer.status_code, error(answer)["code"]) == (401, "invalid_api_key")
    assert error(answer)["message"].startswith(message)
    assert api.requests == []


def test_no_error_quotes_the_key(front):
    assert "another" not in front.ask(key="another").text


@pytest.mark.parametrize("key", ["web", "batch"])
def test_each_key_of_the_list_is_let_in(front, key):
    assert front.ask(key=key).status_code == 200


def test_without_keys_everybody_is_let_in(front):
    front.configure(keys={})
    assert front.ask(key=None).status_code == 200


def test_without_keys_nobody_is_let_in_where_one_is_needed(front):
    front.configure(keys={}, requires_key=True)
    assert front.ask().status_code == 401


def test_a_new_key_needs_no_restart(front):
    front.configure(keys={"web": "new"})
    assert front.ask(key="new").status_code == 200
    assert front.ask(key="web").status_code == 401


@pytest.mark.parametrize("path", ["/v1/models", "/metrics"])
def test_models_and_metrics_need_a_key(front, path):
    with front.client(None) as client:
        assert client.get(path).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/embeddings", "/api/v1/chat/completions", "/register_worker", "/refresh_all_workers"),
        *("/worker_generate", "/list_models", "/docs", "/openapi.json"),
    ],
)
def test_nothing_else_is_served(front, path):
    with front.client() as client:
        answer = client.post(path, json={})
    assert (answer.status_code, error(answer)["code"]) == (404, "not_found")


def test_a_name_that_is_not_served_is_refused(front):
    answer = front.ask(model="gpt-4")
    assert answer.status_code == 404
    assert error(answer)["message"] == "the model 'gpt-4' is not served (served: text2sql)"


def test_a_long_name_is_cut_off(front):
    assert len(error(front.ask(model="x" * 10_000))["message"]) < 300


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "the body is no JSON"),
        (b"[]", "the body is a JSON list"),
        (b'{"temperature": NaN}', "NaN is no JSON number"),
        (b"[" * 100_000, "the body is no JSON"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(front, content, message):
    with front.client() as client:
        answer = client.post("/v1/completions", content=content)
    assert answer.status_code == 400
    assert message in error(answer)["message"]


def test_half_of_a_surrogate_pair_is_passed_on(front):
    assert (
        front.ask("\ud800".encode("utf-16", "surrogatepass").decode("utf-16", "replace")).status_code == 200
    )
    with front.client() as client:
        answer = client.post("/v1/completions", content=b'{"model": "text2sql", "prompt": "\\ud800"}')
    assert answer.status_code == 200


def test_a_body_that_is_too_long_is_refused(front, api):
    front.configure(limits={"body_kib": 1})
    answer = front.ask("x" * 2000)
    assert (answer.status_code, error(answer)["code"]) == (413, "body_too_long")
    assert api.requests == []


def test_a_body_that_is_far_too_long_is_refused_too(front):
    """More than the kernel's buffers hold: the client is still sending when the refusal comes."""
    answer = front.ask("x" * 50_000_000)
    assert (answer.status_code, error(answer)["code"]) == (413, "body_too_long")


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({"n": 9}, "n × prompts is 9 × 1"),
        ({"n": 3, "prompt": ["a", "b", "c"]}, "n × prompts is 3 × 3"),
        ({"prompt": ["a"] * 9}, "n × prompts is 1 × 9"),
        ({"prompt": [[1, 2]] * 9}, "n × prompts is 1 × 9"),
    ],
)
def test_more_answers_than_one_request_may_have_are_refused(front, api, fields, asked):
    """FastChat starts all of them at once, and they took one place."""
    answer = front.ask(**{"prompt": "x"} | fields)
    assert (answer.status_code, error(answer)["code"]) == (400, "too_many_answers")
    assert error(answer)["message"].startswith(f"{asked}, and one request has 8 answers at most")
    assert api.requests == []


@pytest.mark.parametrize("n", ["9", 9.0, True, [9]])
def test_a_number_of_answers_that_is_no_integer_is_refused(front, api, n):
    """FastChat would read some of them as an integer."""
    answer = front.ask(n=n)
    assert (answer.status_code, error(answer)["code"]) == (400, "invalid_n")
    assert api.requests == []


@pytest.mark.parametrize(
    "fields", [{"n": 8}, {"n": None}, {"n": 2, "prompt": ["a"] * 4}, {"prompt": [1] * 9}]
)
def test_as_many_answers_as_one_request_may_have_are_passed_on(front, fields):
    assert front.ask(**{"prompt": "x"} | fields).status_code == 200


def test_a_key_with_all_its_places_taken_is_told_when_to_come_again(front, api):
    front.configure(limits={"requests_per_key": 1})
    with ThreadPoolExecutor() as pool:
        first = pool.submit(front.ask, "hold")
        wait_until(lambda: api.requests)
        second, other = front.ask(), front.ask(key="batch")
        api.hold.set()
        assert first.result().status_code == 200
    assert (second.status_code, second.headers["Retry-After"]) == (429, "1")
    assert error(second)["message"].startswith("1 requests of this key are answered now")
    assert other.status_code == 200


def test_all_keys_together_have_a_limit(front, api):
    front.configure(limits={"requests": 1})
    with ThreadPoolExecutor() as pool:
        first = pool.submit(front.ask, "hold")
        wait_until(lambda: api.requests)
        other, internal = front.ask(key="batch"), front.ask(key=INTERNAL)
        api.hold.set()
        assert first.result().status_code == 200
    assert error(other)["message"].startswith("1 requests in all are answered now")
    assert internal.status_code == 200, "a switch must be able to probe its model"


def test_a_place_is_free_again_after_an_answer(front):
    front.configure(limits={"requests_per_key": 1})
    assert [front.ask().status_code for _ in range(3)] == [200, 200, 200]


def test_a_request_that_takes_too_long_is_ended(front, api):
    front.configure(limits={"seconds": 0.3})
    answer = front.ask("hold")
    assert (answer.status_code, error(answer)["code"]) == (504, "timeout")
    assert api.left.wait(10)


def test_a_stream_that_takes_too_long_ends_with_an_error(front, api):
    front.configure(limits={"seconds": 0.3})
    answer = front.ask("hold", stream=True)
    assert answer.status_code == 200
    assert '"code": "timeout"' in answer.text.splitlines()[-2]


def test_a_client_that_stops_reading_a_stream_is_given_up(front, api, monkeypatch):
    """The error at the end of the stream waited for the client, for as long as it did not read."""
    monkeypatch.setattr(door.app, "LAST_WORDS", 0.2)
    front.configure(limits={"seconds": 0.3})
    body = {"model": "text2sql", "prompt": "without end", "stream": True}
    with front.client() as client, client.stream("POST", "/v1/completions", json=body):
        assert front.log()[0]["status"] == 504


def test_a_stream_that_breaks_off_ends_with_an_error(front):
    assert '"code": "upstream_error"' in front.ask("break off", stream=True).text.splitlines()[-2]


def test_a_stream_that_the_model_refuses_ends_with_an_error_in_openais_shape(front):
    events = front.ask("out of memory at last", stream=True).text.splitlines()
    last = events[-2].removeprefix("data: ")
    assert json.loads(last)["error"] == {
        "message": "CUDA out of memory",
        "type": "server_error",
        "param": None,
        "code": "50002",
    }


def test_a_stream_that_the_model_refuses_is_logged_as_a_failure(front):
    front.ask("out of memory at last", stream=True)
    assert front.log()[0]["status"] == 500


@pytest.mark.parametrize(
    ("prompt", "status", "kind", "code"),
    [
        ("too long", 400, "invalid_request_error", "context_length_exceeded"),
        ("out of memory", 500, "server_error", "50002"),
        ("crash", 502, "server_error", "500"),
    ],
)
def test_an_error_of_the_model_server_has_openais_shape(front, prompt, status, kind, code):
    answer = front.ask(prompt)
    assert answer.status_code == status
    assert (error(answer)["type"], error(answer)["code"]) == (kind, code)
