"""A request and its response: the body within its limit, the answer as it comes, or an error in its place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.types import Send

from door.errors import ClientGone, Refusal
from door.record import Record
from door.settings import Settings


class Exchange:
    """One request and its response.

    Args:
        request: The request.
        send: Sends the response.
    """

    def __init__(self, request: Request, send: Send) -> None:
        self.request, self._send = request, send
        self.record = Record.of(request)
        self.settings = Settings()
        self.started = False
        """Whether the response has begun."""
        self.on_start: Callable[[], None] | None = None
        """Called when it begins."""

    async def body(self) -> dict[str, Any]:
        """The request's JSON object.

        Raises:
            Refusal: It is too long, or none.
            ClientGone: The client has closed the connection.
        """
        content = bytearray()
        limit = self.settings.limits.body_kib
        try:
            async for part in self.request.stream():
                content += part
                if len(content) > limit * 1024:
                    raise Refusal(413, f"the body is longer than {limit} KiB: send less", "body_too_long")
        except ClientDisconnect as e:
            raise ClientGone from e
        return _json_object(bytes(content))

    async def or_gone(self, answering: Awaitable[None]) -> None:
        """Answer until it is done or the client, whose body was read, has closed the connection.

        Raises:
            ClientGone: The client has; what was answering is cancelled, and with it the request upstream.
        """
        answer, gone = asyncio.ensure_future(answering), asyncio.ensure_future(self._closed())
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise ClientGone
            await answer
        finally:
            for task in (answer, gone):
                task.cancel()
            await asyncio.gather(answer, gone, return_exceptions=True)

    async def _closed(self) -> None:
        while (await self.request.receive())["type"] != "http.disconnect":
            pass

    async def start(self, status: int, content_type: str, headers: Mapping[str, str] | None = None) -> None:
        """Send status and headers."""
        self.started, self.record.status = True, status
        if self.on_start:
            self.on_start()
        values = {"Content-Type": content_type} | self.record.headers | dict(headers or {})
        pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in values.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def write(self, content: bytes, *, more: bool) -> None:
        """Send a part of the body; without `more`, the last one."""
        await self._send({"type": "http.response.body", "body": content, "more_body": more})

    async def send_json(
        self, content: bytes, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a whole response of JSON."""
        await self.start(status, "application/json", {"Content-Length": str(len(content)), **(headers or {})})
        await self.write(content, more=False)

    async def refuse(self, refusal: Refusal) -> None:
        """Send an error: as the response, or as the last event of a stream that has begun."""
        if not self.started:
            await self.send_json(refusal.body, refusal.status, refusal.headers)
            return
        self.record.status = refusal.status
        await self.write(b"data: " + refusal.body + b"\n\n", more=False)


def _json_object(content: bytes) -> dict[str, Any]:
    try:
        body = json.loads(content, parse_constant=_no_constant)
    except (ValueError, RecursionError) as e:
        raise Refusal(400, f"the body is no JSON ({e}): send a JSON object", "invalid_json") from e
    if not isinstance(body, dict):
        raise Refusal(400, f"the body is a JSON {type(body).__name__}: send a JSON object", "invalid_json")
    return body


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON number")
