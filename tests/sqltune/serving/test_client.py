"""Client of the served model: many prompts at once within the limit, retried where that helps."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sqltune.config.recipe import Decoding
from sqltune.errors import ServingError
from sqltune.serving.client import ATTEMPTS, FIRST_PAUSE, Completion, Endpoint, ask, retry_after
from tests.conftest import free_port, serving


class Model:
    """A model that answers as its prompt says."""

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()
        self.workers_named: set[str | None] = set()
        self.running = self.most_at_once = 0

    async def answer(self, request: Request) -> JSONResponse:
        body = await request.json()
        prompt = body["prompt"]
        self.received[prompt] += 1
        self.workers_named.add(request.headers.get("X-Model-Worker"))
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        await asyncio.sleep(5 if prompt == "slow at first" and self.received[prompt] == 1 else 0.05)
        self.running -= 1
        if prompt == "busy at first" and self.received[prompt] < 3:
            return JSONResponse({"message": "overloaded"}, 503)
        if prompt == "full" or (prompt == "full at first" and self.received[prompt] < 2 * ATTEMPTS):
            headers = {"Retry-After": "0"}
            return JSONResponse({"message": "256 requests of this key are answered now"}, 429, headers)
        if prompt == "without a key":
            return JSONResponse({"message": "incorrect API key"}, 401)
        if prompt == "refused":
            return JSONResponse({"message": "no such model", "code": 40301}, 400)
        if prompt == "too long":
            return JSONResponse(
                {
                    "error": {
                        "message": "This model's maximum context length is 1024 tokens.",
                        "code": "context_length_exceeded",
                    }
                },
                400,
            )
        answer: dict[str, Any] = {"choices": [{"text": f"SELECT '{prompt}' {body['temperature']}"}]}
        if prompt != "not counted":
            answer["usage"] = {"prompt_tokens": 3, "completion_tokens": len(prompt)}
        worker = "worker-m-2" if prompt == "after a promotion" else "worker-m-1"
        headers = {} if prompt == "no front door" else {"X-Model-Worker": worker}
        return JSONResponse(answer, headers=headers)


@pytest.fixture
def served() -> Iterator[tuple[Model, Endpoint]]:
    model = Model()
    with serving(Starlette(routes=[Route("/v1/completions", model.answer, methods=["POST"])])) as url:
        yield model, Endpoint(f"{url}/v1", "m")


def texts(completions: Sequence[Completion]) -> list[str]:
    return [completion.text for completion in completions]


def test_answers_come_in_the_order_of_the_prompts(served):
    _, endpoint = served
    prompts = [f"p{i}" for i in range(20)]
    assert texts(ask(endpoint, prompts, Decoding(concurrency=3))) == [f"SELECT '{p}' 0.0" for p in prompts]


def test_no_more_prompts_are_sent_at_once_than_allowed(served):
    model, endpoint = served
    ask(endpoint, [f"p{i}" for i in range(20)], Decoding(concurrency=3))
    assert model.most_at_once == 3


def test_each_answer_is_passed_on_as_it_comes(served):
    _, endpoint = served
    received: dict[int, Completion] = {}
    answers = ask(endpoint, [f"p{i}" for i in range(20)], Decoding(concurrency=3), received.__setitem__)
    assert received == dict(enumerate(answers))


def test_a_server_error_is_retried(served):
    model, endpoint = served
    (answer,) = texts(ask(endpoint, ["busy at first"], Decoding(timeout=1)))
    assert answer.startswith("SELECT")
    assert model.received["busy at first"] == 3


def test_a_request_that_was_one_too_many_waits_for_its_place(served):
    """Users who held all places for four seconds failed the evaluation: it counted as an attempt."""
    model, endpoint = served
    (answer,) = texts(ask(endpoint, ["full at first"], Decoding()))
    assert answer.startswith("SELECT")
    assert model.received["full at first"] == 2 * ATTEMPTS


def test_a_request_that_never_has_a_place_is_given_up(served, monkeypatch):
    monkeypatch.setattr("sqltune.serving.client.FULL_PATIENCE", 0.1)
    _, endpoint = served
    with pytest.raises(ServingError, match="did not answer: 429 .*requests of this key"):
        ask(endpoint, ["full"], Decoding())


@pytest.mark.parametrize(
    ("headers", "seconds"), [({"Retry-After": "7"}, 7), ({}, 1), ({"Retry-After": "soon"}, 1)]
)
def test_the_server_says_when_to_come_again(headers, seconds):
    assert retry_after(httpx.Response(429, headers=headers)) == seconds


def test_no_server_delays_a_prompt_for_long():
    assert retry_after(httpx.Response(429, headers={"Retry-After": "86400"})) == 60


def test_a_timeout_is_retried(served):
    model, endpoint = served
    (answer,) = texts(ask(endpoint, ["slow at first"], Decoding(timeout=1)))
    assert answer.startswith("SELECT")
    assert model.received["slow at first"] == 2


def test_a_prompt_that_is_too_long_has_an_empty_answer(served):
    _, endpoint = served
    answers = texts(ask(endpoint, ["a", "too long", "b"], Decoding()))
    assert answers == ["SELECT 'a' 0.0", "", "SELECT 'b' 0.0"]


def test_a_prompt_that_is_too_long_is_not_retried(served):
    model, endpoint = served
    ask(endpoint, ["too long"], Decoding())
    assert model.received["too long"] == 1


def test_a_refusal_is_quoted_and_not_retried(served):
    model, endpoint = served
    with pytest.raises(ServingError, match="m at http://.* did not answer: 400 .*no such model"):
        ask(endpoint, ["refused"], Decoding())
    assert model.received["refused"] == 1


def test_answers_before_a_refusal_were_passed_on(served):
    _, endpoint = served
    received: dict[int, Completion] = {}
    with pytest.raises(ServingError):
        ask(endpoint, ["a", "refused"], Decoding(concurrency=1), received.__setitem__)
    assert texts([received.pop(0)]) == ["SELECT 'a' 0.0"]
    assert received == {}


def test_a_server_that_cannot_be_reached_names_the_setting(monkeypatch):
    monkeypatch.setattr("sqltune.serving.client.FIRST_PAUSE", 0.01)
    with pytest.raises(ServingError, match="ConnectError: .*serving.bind"):
        ask(Endpoint(f"http://127.0.0.1:{free_port()}/v1", "m"), ["a"], Decoding())


def test_a_wrong_api_key_is_named_with_its_setting(served):
    model, endpoint = served
    with pytest.raises(ServingError, match=r"401 .*incorrect API key.*serving\.api_key_env"):
        ask(endpoint, ["without a key"], Decoding())
    assert model.received["without a key"] == 1


def test_an_answer_of_another_worker_is_no_answer(served):
    """Answers of the model that was promoted meanwhile were stored as the champion's, for ever."""
    _, endpoint = served
    received: dict[int, Completion] = {}
    endpoint = replace(endpoint, worker="worker-m-1")
    with pytest.raises(ServingError, match="m at http://.* is worker-m-2 now, and was worker-m-1 .*: clear"):
        ask(endpoint, ["a", "after a promotion"], Decoding(concurrency=1), received.__setitem__)
    assert texts([received.pop(0)]) == ["SELECT 'a' 0.0"]
    assert received == {}


@pytest.mark.parametrize(("worker", "named"), [("worker-m-1", "worker-m-1"), ("", None)])
def test_a_request_names_the_worker_that_is_to_answer(served, worker, named):
    """So an evaluation takes no part in the trial of a candidate."""
    model, endpoint = served
    ask(replace(endpoint, worker=worker), ["a", "b"], Decoding())
    assert model.workers_named == {named}


@pytest.mark.parametrize(("worker", "prompt"), [("", "after a promotion"), ("worker-m-1", "no front door")])
def test_an_answer_counts_where_its_worker_is_not_known(served, worker, prompt):
    """A front door of an older version names none."""
    _, endpoint = served
    answers = ask(replace(endpoint, worker=worker), [prompt], Decoding())
    assert texts(answers) == [f"SELECT '{prompt}' 0.0"]


def test_time_of_an_answer_begins_when_its_prompt_is_sent(served):
    """And not when it begins to wait for one of the places."""
    _, endpoint = served
    began = time.monotonic()
    answers = ask(endpoint, [f"p{i}" for i in range(10)], Decoding(concurrency=1))
    assert 0 < sum(answer.seconds for answer in answers) < time.monotonic() - began


def test_time_of_an_answer_is_that_of_the_attempt_which_was_answered(served):
    """How long the server was full or down before is not the model's speed."""
    _, endpoint = served
    began = time.monotonic()
    (answer,) = ask(endpoint, ["busy at first"], Decoding())
    pauses = FIRST_PAUSE + 2 * FIRST_PAUSE
    assert 0 < answer.seconds < time.monotonic() - began - pauses


def test_prompt_that_is_too_long_takes_no_time(served):
    _, endpoint = served
    assert ask(endpoint, ["too long"], Decoding()) == [Completion("", seconds=None, tokens=None)]


def test_tokens_are_those_that_the_api_counts(served):
    _, endpoint = served
    answers = ask(endpoint, ["abcde", "not counted"], Decoding())
    assert [answer.tokens for answer in answers] == [5, None]
