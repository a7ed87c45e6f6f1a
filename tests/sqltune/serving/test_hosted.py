"""The hosted reference with zhipuai's own client, against a server that replays replies of the service."""

from __future__ import annotations

import inspect
import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sqltune.contracts import HostedBatch, HostedQuestion, HostedReply
from sqltune.serving import hosted
from tests.conftest import NODE_PYTHON, serving


class Replay:
    """The service: its replies by prompt, with a thousand tokens each."""

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()
        self.error: tuple[int, dict[str, Any]] | None = None
        self.url = ""

    async def completions(self, request: Request) -> JSONResponse:
        body = await request.json()
        prompt = body["messages"][-1]["content"]
        self.received[prompt] += 1
        if self.error:
            return JSONResponse(self.error[1], self.error[0])
        if prompt == "busy at first" and self.received[prompt] == 1:
            return JSONResponse({"error": {"code": "1302", "message": "您当前使用该API的并发数过高"}}, 429)
        return JSONResponse(
            {
                "id": "8000",
                "request_id": "8000",
                "created": 1732000000,
                "model": body["model"],
                "usage": {"prompt_tokens": 900, "completion_tokens": 100, "total_tokens": 1000},
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": f"```sql\nSELECT '{prompt}'\n```"},
                    }
                ],
            }
        )


@pytest.fixture
def glm() -> Iterator[Replay]:
    replay = Replay()
    with serving(
        Starlette(routes=[Route("/api/paas/v4/chat/completions", replay.completions, methods=["POST"])])
    ) as url:
        replay.url = f"{url}/api/paas/v4"
        yield replay


def ask(glm: Replay, *prompts: str, key: str = "id.secret", **budget: Any) -> HostedReply:
    """`ask_hosted` as Airflow runs it: its text, in an environment without this package."""
    limits = {"max_calls": 100, "max_cost": 100.0, "price": 0.1} | budget
    questions = [HostedQuestion(id=p, prompt=p) for p in prompts]
    batch = HostedBatch(model="glm-4", url=glm.url, label="glm-4", questions=questions, **limits)
    script = "\n".join(
        [
            "import json, sys",
            inspect.getsource(hosted.ask_hosted),
            "print('RESULT ' + json.dumps(ask_hosted(*json.load(sys.stdin))))",
        ]
    )
    done = subprocess.run(
        [NODE_PYTHON, "-c", script],
        input=json.dumps([batch.model_dump(mode="json"), key]),
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "NO_PROXY": "*"},
    )
    assert done.returncode == 0, done.stderr
    return HostedReply.model_validate_json(done.stdout.splitlines()[-1].removeprefix("RESULT "))


def test_every_prompt_is_answered(glm):
    answers = ask(glm, "a", "b", "busy at first").answers
    assert set(answers) == {"a", "b", "busy at first"}
    assert answers["b"] == "```sql\nSELECT 'b'\n```"


def test_calls_tokens_and_cost_are_counted(glm):
    reply = ask(glm, "a", "b", "busy at first")
    assert (reply.calls, reply.tokens, round(reply.cost, 6)) == (3, 3000, 0.3)
    assert reply.error == ""


def test_no_more_calls_are_made_than_the_budget_allows(glm):
    assert len(ask(glm, *(f"p{i}" for i in range(40)), max_calls=5).answers) == 5


def test_no_more_is_spent_than_the_budget_allows(glm):
    reply = ask(glm, *(f"p{i}" for i in range(40)), max_cost=1.0)
    # Four questions are sent at once: those under way when the budget is spent are paid for.
    assert 10 <= len(reply.answers) <= 14
    assert "the budget of 1 is spent" in reply.error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ((401, {"error": {"code": "1000", "message": "身份验证失败"}}), "身份验证失败"),
        ((429, {"error": {"code": "1113", "message": "您的账户已欠费"}}), "您的账户已欠费"),
        ((500, {"error": {"code": "500", "message": "内部错误"}}), "内部错误"),
    ],
)
def test_a_service_that_refuses_receives_no_further_question(glm, error, message):
    glm.error = error
    reply = ask(glm, "a", "b", "c")
    assert reply.answers == {}
    assert reply.calls == 1
    assert message in reply.error
    assert set(glm.received) == {"a"}


def test_without_a_key_no_question_is_sent(glm):
    assert ask(glm, "a", key="").error == "no key"
    assert not glm.received


def test_no_prompt_is_paid_for_twice(records):
    prompts = {"q1": "one", "q2": "two"}
    hosted.store_answers("glm-4", "", prompts, {"q1": "SELECT 1"})
    hosted.store_answers("glm-4", "", prompts, {"q2": "SELECT 2"})
    assert hosted.stored_answers("glm-4", "", prompts) == {"q1": "SELECT 1", "q2": "SELECT 2"}


def test_an_answer_is_known_under_another_id_of_the_same_prompt(records):
    hosted.store_answers("glm-4", "", {"q1": "one"}, {"q1": "SELECT 1"})
    assert hosted.stored_answers("glm-4", "", {"other": "one", "q2": "two"}) == {"other": "SELECT 1"}


def test_another_model_has_answers_of_its_own(records):
    hosted.store_answers("glm-4", "", {"q1": "one"}, {"q1": "SELECT 1"})
    assert hosted.stored_answers("glm-4-plus", "", {"q1": "one"}) == {}
