"""Client of the served model: many prompts at once over the OpenAI-style /v1/completions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx

from sqltune.config.recipe import Decoding
from sqltune.errors import ServingError

log = logging.getLogger(__name__)

TRIES = 4
CONTEXT_OVERFLOW = 40303
"""FastChat's code for a prompt that the model's context does not hold."""


@dataclass(frozen=True)
class Endpoint:
    """Where a model answers, and under which name."""

    url: str
    model: str
    api_key: str | None = None


async def _answer(client: httpx.AsyncClient, endpoint: Endpoint, prompt: str, decoding: Decoding) -> str:
    """One completion. A server error, a broken connection or a timeout is tried again, a refusal is not; a prompt that is too long for the model has no answer."""
    body = {
        "model": endpoint.model,
        "prompt": prompt,
        "max_tokens": decoding.max_tokens,
        "temperature": decoding.temperature,
        "stop": decoding.stop,
    }
    reason = ""
    for attempt in range(TRIES):
        try:
            response = await client.post(f"{endpoint.url}/completions", json=body)
        except httpx.ConnectError as e:
            reason = f"{type(e).__name__}: {e}; if it runs there, this machine can't reach it: serving.bind in the cluster file must be an address of that host that Airflow's workers reach, through any firewall"
        except httpx.TransportError as e:
            reason = f"{type(e).__name__}: {e}"
        else:
            if response.status_code == 200 and "choices" in (answer := response.json()):
                return answer["choices"][0]["text"]
            reason = f"{response.status_code} {response.text[:300]}"
            if response.status_code == 400 and f'"code":{CONTEXT_OVERFLOW}' in response.text.replace(" ", ""):
                log.warning(
                    "%s can't be asked this, its context is too short: %s",
                    endpoint.model,
                    response.text[:200],
                )
                return ""
            if 400 <= response.status_code < 500:
                break
        await asyncio.sleep(0.5 * 2**attempt)
    raise ServingError(f"{endpoint.model} at {endpoint.url} did not answer: {reason}")


async def complete_all(
    endpoint: Endpoint,
    prompts: Sequence[str],
    decoding: Decoding,
    done: Callable[[int, str], None] = lambda number, answer: None,
) -> list[str]:
    """Answers in the order of the prompts, at most `decoding.concurrency` at once; `done` is told of each as it comes."""
    gate = asyncio.Semaphore(decoding.concurrency)
    headers = {"Authorization": f"Bearer {endpoint.api_key}"} if endpoint.api_key else {}
    # By address, in our own network: never through the proxy of the environment.
    async with httpx.AsyncClient(timeout=decoding.timeout, headers=headers, trust_env=False) as client:

        async def one(number: int, prompt: str) -> str:
            async with gate:
                answer = await _answer(client, endpoint, prompt, decoding)
            done(number, answer)
            return answer

        async with asyncio.TaskGroup() as tasks:
            answers = [tasks.create_task(one(number, prompt)) for number, prompt in enumerate(prompts)]
        return [a.result() for a in answers]


def ask(
    endpoint: Endpoint,
    prompts: Sequence[str],
    decoding: Decoding,
    done: Callable[[int, str], None] = lambda number, answer: None,
) -> list[str]:
    """`complete_all` for a task; `ServingError` with the first trouble."""
    try:
        return asyncio.run(complete_all(endpoint, prompts, decoding, done))
    except ExceptionGroup as group:
        raise group.exceptions[0] from group
