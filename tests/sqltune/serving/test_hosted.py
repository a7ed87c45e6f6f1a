"""The hosted reference with zhipuai's own client, against a server that replays replies in the service's form."""

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

from sqltune.config.base import digest
from sqltune.serving import hosted
from tests.conftest import NODE_PYTHON, serving


class Replay:
    """The service: its replies by prompt, with a thousand tokens each."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.error: tuple[int, dict[str, Any]] | None = None
        self.url = ""

    async def completions(self, request: Request) -> JSONResponse:
        body = await request.json()
        prompt = body["messages"][-1]["content"]
        self.asked[prompt] += 1
        if self.error:
            return JSONResponse(self.error[1], self.error[0])
        if prompt == "busy at first" and self.asked[prompt] == 1:
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


def ask(glm: Replay, *prompts: str, key: str = "id.secret", **budget: Any) -> dict[str, Any]:
    """`ask_hosted` as Airflow's external Python runs it: its text, in an environment without ours."""
    wanted = {
        "model": "glm-4",
        "url": glm.url,
        "max_calls": 100,
        "max_cost": 100.0,
        "price": 0.1,
        "questions": [{"id": p, "prompt": p} for p in prompts],
    } | budget
    script = f"import json, sys\n{inspect.getsource(hosted.ask_hosted)}\nprint('RESULT ' + json.dumps(ask_hosted(*json.load(sys.stdin))))"
    done = subprocess.run(
        [NODE_PYTHON, "-c", script],
        input=json.dumps([wanted, key]),
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "NO_PROXY": "*"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1].removeprefix("RESULT "))


def test_every_prompt_is_answered_and_counted(glm):
    found = ask(glm, "a", "b", "busy at first")
    assert found["answers"]["b"] == "```sql\nSELECT 'b'\n```" and set(found["answers"]) == {
        "a",
        "b",
        "busy at first",
    }
    assert (found["calls"], found["tokens"], round(found["cost"], 6), found["trouble"]) == (3, 3000, 0.3, "")


def test_it_ends_at_the_budget(glm):
    prompts = [f"p{i}" for i in range(40)]
    assert len(ask(glm, *prompts, max_calls=5)["answers"]) == 5
    spent = ask(glm, *prompts, max_cost=1.0)
    # Four are asked at once: what is under way when the last is spent is paid for.
    assert 10 <= len(spent["answers"]) <= 14 and "the budget of 1 is spent" in spent["trouble"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ((401, {"error": {"code": "1000", "message": "身份验证失败"}}), "身份验证失败"),
        ((429, {"error": {"code": "1113", "message": "您的账户已欠费"}}), "您的账户已欠费"),
        ((500, {"error": {"code": "500", "message": "内部错误"}}), "内部错误"),
    ],
)
def test_a_service_that_refuses_is_asked_no_further_and_fails_nothing(glm, error, words):
    glm.error = error
    found = ask(glm, "a", "b", "c")
    assert (
        found["answers"] == {}
        and found["calls"] == 1
        and words in found["trouble"]
        and set(glm.asked) == {"a"}
    )


def test_without_a_key_nobody_is_asked(glm):
    assert ask(glm, "a", key="")["trouble"] == "no key" and not glm.asked


def test_no_prompt_is_paid_for_twice(records):
    prompts = {"q1": "one", "q2": "two"}
    hosted.remember("glm-4", "", prompts, {"q1": "SELECT 1"})
    # The same prompt under another question's id; another model has another memory.
    assert (
        hosted.known("glm-4", "", {"other": "one", "q2": "two"}) == {"other": "SELECT 1"}
        and hosted.known("glm-4-plus", "", prompts) == {}
    )
    hosted.remember("glm-4", "", prompts, {"q2": "SELECT 2"})
    assert hosted.known("glm-4", "", prompts) == {"q1": "SELECT 1", "q2": "SELECT 2"} and digest(
        "one"
    ) != digest("two")
