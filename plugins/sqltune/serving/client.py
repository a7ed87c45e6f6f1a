"""Client of the served model: many prompts at once over the OpenAI-style /v1/completions."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from sqltune.config.recipe import Decoding
from sqltune.errors import ServingError

log = logging.getLogger(__name__)

ATTEMPTS = 4
"""Attempts for one prompt."""
FIRST_PAUSE = 0.5
"""Seconds before the second attempt; each further pause is twice as long."""
FULL_PATIENCE = 600.0
"""Seconds that a prompt waits for a place at a server that has none; users of the public model hold them."""
LONGEST_PAUSE = 60.0
"""Seconds between two looks for a place, whatever the server asks for."""
CONTEXT_OVERFLOW = "context_length_exceeded"
"""Code of the error for a prompt that does not fit into the model's context."""
WORKER_HEADER = "X-Model-Worker"
"""Header in which the front door names the worker that answers, and a request the one that is to."""
EXCERPT = 300
"""Characters of an answer that a message quotes."""


@dataclass(frozen=True)
class Endpoint:
    """Where a model answers, and under which name.

    Attributes:
        url: Base address of the OpenAI-style API.
        model: Served name.
        api_key: API key; None for a server without one.
        worker: The only worker whose answers count; empty: whichever has the name.
    """

    url: str
    model: str
    api_key: str | None = None
    worker: str = ""


@dataclass(frozen=True)
class Completion:
    """What a model made of a prompt.

    Attributes:
        text: The answer.
        seconds: From sending the prompt to the answer's last byte, in the attempt that was answered; None
            where nothing was generated: the prompt is too long for the model.
        tokens: Tokens of the answer, as the API counts them; None where it does not.
    """

    text: str
    seconds: float | None = None
    tokens: int | None = None


def _ignore(number: int, completion: Completion) -> None:
    """The default callback."""


def ask(
    endpoint: Endpoint,
    prompts: Sequence[str],
    decoding: Decoding,
    done: Callable[[int, Completion], None] = _ignore,
) -> list[Completion]:
    """Send all prompts, and wait for the answers.

    Args:
        endpoint: The served model.
        prompts: The prompts.
        decoding: How the model decodes, and how many prompts are sent at once.
        done: Called with the number of a prompt and its completion as soon as it arrives.

    Returns:
        Completions in the order of the prompts; an empty one for a prompt that is too long for the model.

    Raises:
        ServingError: A prompt was not answered, or by another worker. Answers that came before were passed to
            `done`.
    """
    try:
        return asyncio.run(complete_all(endpoint, prompts, decoding, done))
    except ExceptionGroup as group:
        raise group.exceptions[0] from group


async def complete_all(
    endpoint: Endpoint,
    prompts: Sequence[str],
    decoding: Decoding,
    done: Callable[[int, Completion], None] = _ignore,
) -> list[Completion]:
    """`ask` in a running loop, at most `decoding.concurrency` prompts at once."""
    slots = asyncio.Semaphore(decoding.concurrency)
    headers = {"Authorization": f"Bearer {endpoint.api_key}"} if endpoint.api_key else {}
    # A server in the local network, by address: never through a proxy of the environment.
    async with httpx.AsyncClient(timeout=decoding.timeout, headers=headers, trust_env=False) as client:

        async def complete_one(number: int, prompt: str) -> Completion:
            async with slots:
                completion = await _complete(client, endpoint, prompt, decoding)
            done(number, completion)
            return completion

        async with asyncio.TaskGroup() as tasks:
            completions = [
                tasks.create_task(complete_one(number, prompt)) for number, prompt in enumerate(prompts)
            ]
        return [completion.result() for completion in completions]


async def _complete(
    client: httpx.AsyncClient, endpoint: Endpoint, prompt: str, decoding: Decoding
) -> Completion:
    """One completion; retried after a server error, a broken connection or a timeout, not a refusal."""
    body = {
        "model": endpoint.model,
        "prompt": prompt,
        "max_tokens": decoding.max_tokens,
        "temperature": decoding.temperature,
        "stop": decoding.stop,
    }
    reason = ""
    for attempt in range(ATTEMPTS):
        try:
            response = await _post(client, endpoint, body)
        except httpx.TransportError as e:
            reason = _transport_problem(e)
        else:
            completion = _completion(endpoint, response)
            if completion is not None:
                _require_worker(endpoint, response)
                return completion
            reason = _refusal(response)
            if response.is_client_error:
                break
        await asyncio.sleep(FIRST_PAUSE * 2**attempt)
    raise ServingError(f"{endpoint.model} at {endpoint.url} did not answer: {reason}")


async def _post(client: httpx.AsyncClient, endpoint: Endpoint, body: dict[str, Any]) -> httpx.Response:
    """Send a prompt; while there is no place for it, again when the server says, for `FULL_PATIENCE`."""
    give_up = time.monotonic() + FULL_PATIENCE
    # A request that names its worker takes no part in the trial of a candidate.
    headers = {WORKER_HEADER: endpoint.worker} if endpoint.worker else {}
    while True:
        response = await client.post(f"{endpoint.url}/completions", json=body, headers=headers)
        if response.status_code != httpx.codes.TOO_MANY_REQUESTS or time.monotonic() > give_up:
            return response
        await asyncio.sleep(retry_after(response))


def retry_after(response: httpx.Response) -> float:
    """Seconds after which a server wants to be asked again; 1 where it does not say, at most a minute."""
    text = response.headers.get("Retry-After", "")
    return min(float(text), LONGEST_PAUSE) if text.isdecimal() else 1.0


def _refusal(response: httpx.Response) -> str:
    """What the server answered in place of a completion, and the remedy where there is one."""
    remedy = (
        "; the API key is missing or wrong: set the variable that the cluster's serving.api_key_env names"
    )
    is_unauthorised = response.status_code == httpx.codes.UNAUTHORIZED
    return f"{response.status_code} {response.text[:EXCERPT]}" + (remedy if is_unauthorised else "")


def _completion(endpoint: Endpoint, response: httpx.Response) -> Completion | None:
    """The completion in a response; empty for a prompt that is too long; None for any other response."""
    if response.status_code == 200 and "choices" in (body := response.json()):
        tokens = (body.get("usage") or {}).get("completion_tokens")
        return Completion(str(body["choices"][0]["text"]), response.elapsed.total_seconds(), tokens)
    if response.status_code == 400 and f'"{CONTEXT_OVERFLOW}"' in response.text:
        log.warning(
            "a prompt is too long for the context of %s and has no answer: %s",
            endpoint.model,
            response.text[:EXCERPT],
        )
        return Completion("")
    return None


def _require_worker(endpoint: Endpoint, response: httpx.Response) -> None:
    """Refuse an answer of another worker: the name has moved to another version or engine."""
    worker = response.headers.get(WORKER_HEADER, "")
    if endpoint.worker and worker and worker != endpoint.worker:
        raise ServingError(
            f"{endpoint.model} at {endpoint.url} is {worker} now, and was {endpoint.worker} when it was made "
            "ready: another version or engine was promoted meanwhile, and its answers would count as this "
            "model's: clear the task `serve` before this one, with what follows it"
        )


def _transport_problem(error: httpx.TransportError) -> str:
    remedy = (
        "; if the server runs, this machine cannot reach it: set serving.bind in the cluster file to an "
        "address of that host that Airflow's workers reach, through any firewall"
    )
    return f"{type(error).__name__}: {error}" + (remedy if isinstance(error, httpx.ConnectError) else "")
