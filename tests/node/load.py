"""Requests to model servers across a switch."""

from __future__ import annotations

import asyncio
import math
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from tests.node.served import BODY, KEY, Served


@dataclass(frozen=True)
class Reply:
    """One request under load: when it was sent and answered, and the text or the failure."""

    sent: float
    received: float
    text: str
    version: str = ""


@dataclass(frozen=True)
class Load:
    """The replies to requests across a switch, and when its process was started and had ended."""

    replies: list[Reply]
    began: float
    switched: float
    process: subprocess.Popen[str]


async def under_load(
    served: Served, start: Callable[[], subprocess.Popen[str]], at_once: int, pause: float
) -> Load:
    """Start a process once requests are answered, and send some until those sent after its end are answered.

    One at least is in flight when the process is started: an adapter is switched to within a second.

    Args:
        served: Who is asked.
        start: Starts the process.
        at_once: Requests in flight.
        pause: Seconds between an answer and the next request.
    """
    replies: list[Reply] = []
    switched = math.inf
    answering, enough = asyncio.Event(), asyncio.Event()

    async def send_repeatedly(client: httpx.AsyncClient) -> None:
        while not enough.is_set():
            sent = time.monotonic()
            if replies:
                answering.set()
            text, version = await _completion(client, served.url)
            replies.append(Reply(sent, time.monotonic(), text, version))
            # Two hundred requests may wait for half a minute before one of them is sent again.
            if sum(reply.sent > switched for reply in replies) >= 10:
                enough.set()
            await asyncio.sleep(pause)

    # The API closes a connection after 5 s without a request, and httpx uses it for 5 s: a request that is
    # sent just then fails, whatever is served.
    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once, keepalive_expiry=1)
    headers = {"Authorization": f"Bearer {KEY}"}
    async with (
        httpx.AsyncClient(timeout=120, limits=limits, headers=headers, trust_env=False) as client,
        asyncio.TaskGroup() as tasks,
    ):
        for _ in range(at_once):
            tasks.create_task(send_repeatedly(client))
        await answering.wait()
        began, process = time.monotonic(), start()
        await asyncio.to_thread(process.wait)
        switched = time.monotonic()
        await enough.wait()
    return Load(replies, began, switched, process)


async def _completion(client: httpx.AsyncClient, url: str) -> tuple[str, str]:
    """The text, or the failure, and the version that the header names."""
    try:
        answer = await client.post(f"{url}/completions", json=BODY)
    except httpx.HTTPError as e:
        return f"failed: {e!r}", ""
    version = answer.headers.get("X-Model-Version", "")
    if answer.status_code == 200 and "choices" in answer.json():
        return str(answer.json()["choices"][0]["text"]), version
    return f"failed: {answer.status_code} {answer.text[:200]}", version
