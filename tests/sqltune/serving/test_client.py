"""Asking a served model: many at once within the limit, tried again where that helps, and told of each answer as it comes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sqltune.config.recipe import Decoding
from sqltune.errors import ServingError
from sqltune.serving.client import Endpoint, ask
from tests.conftest import free_port, serving


class Model:
    """A model that answers as its prompt says."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.now = self.most = 0

    async def answer(self, request: Request) -> JSONResponse:
        body = await request.json()
        prompt = body["prompt"]
        self.asked[prompt] += 1
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(5 if prompt == "slow at first" and self.asked[prompt] == 1 else 0.05)
        self.now -= 1
        if prompt == "busy at first" and self.asked[prompt] < 3:
            return JSONResponse({"message": "overloaded"}, 503)
        if prompt == "refused":
            return JSONResponse({"message": "no such model", "code": 40301}, 400)
        if prompt == "too long":
            return JSONResponse(
                {
                    "object": "error",
                    "message": "This model's maximum context length is 1024 tokens.",
                    "code": 40303,
                },
                400,
            )
        return JSONResponse({"choices": [{"text": f"SELECT '{prompt}' {body['temperature']}"}]})


@pytest.fixture
def served() -> Iterator[tuple[Model, Endpoint]]:
    model = Model()
    with serving(Starlette(routes=[Route("/v1/completions", model.answer, methods=["POST"])])) as url:
        yield model, Endpoint(f"{url}/v1", "m")


def test_answers_come_in_the_order_of_the_prompts_never_more_at_once_than_allowed(served):
    model, endpoint = served
    told: dict[int, str] = {}
    prompts = [f"p{i}" for i in range(20)]
    answers = ask(endpoint, prompts, Decoding(concurrency=3), told.__setitem__)
    assert (
        answers == [f"SELECT '{p}' 0.0" for p in prompts]
        and told == dict(enumerate(answers))
        and model.most == 3
    )


def test_what_may_pass_is_tried_again(served):
    model, endpoint = served
    answers = ask(endpoint, ["busy at first", "slow at first"], Decoding(timeout=1))
    assert all(a.startswith("SELECT") for a in answers) and model.asked == {
        "busy at first": 3,
        "slow at first": 2,
    }


def test_a_prompt_that_is_too_long_has_no_answer_and_stops_no_other(served):
    model, endpoint = served
    assert (
        ask(endpoint, ["a", "too long", "b"], Decoding()) == ["SELECT 'a' 0.0", "", "SELECT 'b' 0.0"]
        and model.asked["too long"] == 1
    )


def test_a_refusal_is_said_and_what_was_answered_was_told(served):
    model, endpoint = served
    told: dict[int, str] = {}
    with pytest.raises(ServingError, match="m at http://.* did not answer: 400 .*no such model"):
        ask(endpoint, ["a", "refused"], Decoding(concurrency=1), told.__setitem__)
    assert told == {0: "SELECT 'a' 0.0"} and model.asked["refused"] == 1


def test_nobody_there_is_said():
    with pytest.raises(ServingError, match="ConnectError: .*serving.bind"):
        ask(Endpoint(f"http://127.0.0.1:{free_port()}/v1", "m"), ["a"], Decoding())
