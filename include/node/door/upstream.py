"""FastChat's API on its Unix socket, and the workers' own addresses."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from door.errors import NO_WORKER, UNKNOWN_MODEL, UNREACHABLE, Refusal, fastchat_error, refusal_of
from door.names import Names
from door.record import REQUEST_ID, Record

PATIENCE = 60.0
"""Seconds that a request waits for an API that is restarted, or for a controller that was."""
PAUSE = 0.1
"""Seconds between two attempts."""
HEALTH_TIMEOUT = 5.0
"""Seconds within which a worker must say that it is there."""


class Upstream:
    """The servers behind the door.

    Args:
        socket: FastChat's API.
        names: Who answers to a name.
    """

    def __init__(self, socket: str, names: Names) -> None:
        self._names = names
        # A connection for each request: one that is kept may be closed by the server just as it is used, and
        # looks like a request where a worker is drained. The time of a request is limited as a whole.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        transport = httpx.AsyncHTTPTransport(uds=socket, limits=limits)
        self._api = httpx.AsyncClient(transport=transport, base_url="http://api", timeout=None)
        self._workers = httpx.AsyncClient(timeout=HEALTH_TIMEOUT, limits=limits, trust_env=False)

    async def close(self) -> None:
        """Close what is open."""
        await self._api.aclose()
        await self._workers.aclose()

    @asynccontextmanager
    async def answer(
        self,
        path: str,
        body: dict[str, Any],
        record: Record,
        *,
        name: str = "",
        patience: float | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """Send a request to the worker that its name stands for; the response is not read yet.

        A request waits while a process is being restarted or a name has just moved: until a worker has it,
        the name is looked up and the request is sent again.

        Args:
            path: Path of the API.
            body: The request; `record.model` takes the place of its model.
            record: Learns who answers.
            name: Served name that is looked up; empty: the record's model.
            patience: Seconds that it waits; None: `PATIENCE`.

        Raises:
            Refusal: The name is not served, or there is an error instead of an answer.
        """
        patience = PATIENCE if patience is None else patience
        response = await self._response(path, body, record, name or record.model, patience)
        try:
            if response.status_code != httpx.codes.OK:
                raise refusal_of(response.status_code, await response.aread())
            yield response
        except httpx.HTTPError as e:
            raise _broken(e) from e
        finally:
            await response.aclose()

    async def _response(
        self, path: str, body: dict[str, Any], record: Record, name: str, patience: float
    ) -> httpx.Response:
        give_up = time.monotonic() + patience
        while (response := await self._attempt(path, body, record, name)) is None:
            if time.monotonic() > give_up:
                raise Refusal(503, "the model server does not answer: ask again later", UNREACHABLE)
            await asyncio.sleep(PAUSE)
        return response

    async def _attempt(
        self, path: str, body: dict[str, Any], record: Record, name: str
    ) -> httpx.Response | None:
        """One attempt; None where another may succeed."""
        record.target = self._names.target(name)
        # Escaped: half of a surrogate pair has no other form.
        content = json.dumps(body | {"model": record.target.program})
        headers = {"Content-Type": "application/json", REQUEST_ID: record.id}
        request = self._api.build_request("POST", path, content=content, headers=headers)
        try:
            response = await self._api.send(request, stream=True)
        except httpx.ConnectError:
            return None
        except httpx.HTTPError as e:
            raise _broken(e) from e
        if response.status_code == httpx.codes.BAD_REQUEST and _is_not_there(await response.aread()):
            return None
        return response

    async def health_problem(self, name: str) -> str:
        """Why the worker of a name does not answer; empty when it does."""
        try:
            url = self._names.target(name).url
            response = await self._workers.post(f"{url}/worker_get_status", json={})
        except Refusal:
            return f"{name} is not served"
        except httpx.HTTPError as e:
            return f"the worker of {name} does not answer: {type(e).__name__}"
        return "" if response.is_success else f"the worker of {name} answers {response.status_code}"


def _broken(error: httpx.HTTPError) -> Refusal:
    return Refusal(502, f"the model server broke off ({type(error).__name__}): ask again", "upstream_error")


def _is_not_there(content: bytes) -> bool:
    """Whether a worker or the controller is being restarted; that one knows its workers a second later."""
    error = fastchat_error(content)
    return error is not None and error.get("code") in (UNKNOWN_MODEL, NO_WORKER)
