"""A completion passed on as it comes, under the name that was asked for."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx

from door.errors import Refusal, stream_refusal
from door.exchange import Exchange
from door.record import Record

STREAM = "text/event-stream"
_DATA, _END_OF_EVENT = b"data: ", b"\n\n"


async def relay(response: httpx.Response, exchange: Exchange) -> None:
    """Pass a response of FastChat's API on.

    FastChat knows the model by its worker's program; the client sees the name that it asked for.

    Args:
        response: The response, not read yet.
        exchange: The request that it answers.

    Raises:
        Refusal: It is no completion.
        httpx.HTTPError: It ends before its end.
    """
    if response.headers.get("Content-Type", "").startswith(STREAM):
        await _relay_stream(response, exchange)
        return
    try:
        content = _renamed(json.loads(await response.aread()), exchange.record)
    except ValueError as e:
        raise Refusal(502, "the model server answered no JSON", "upstream_error") from e
    await exchange.send_json(content)


async def _relay_stream(response: httpx.Response, exchange: Exchange) -> None:
    exchange.record.stream = True

    async def begin() -> None:
        if not exchange.started:
            await exchange.start(200, STREAM, {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})

    # FastChat sends the headers at once: until the first event, another worker may answer, or an error.
    async for event in _events(response):
        if event.startswith(_DATA + b"{"):
            body = json.loads(event.removeprefix(_DATA))
            if refusal := stream_refusal(body):
                raise refusal
            event = _DATA + _renamed(body, exchange.record)
        await begin()
        await exchange.write(event + _END_OF_EVENT, more=True)
    await begin()
    await exchange.write(b"", more=False)


async def _events(response: httpx.Response) -> AsyncIterator[bytes]:
    """Each event as soon as it is whole."""
    rest = b""
    async for part in response.aiter_bytes():
        *events, rest = (rest + part).split(_END_OF_EVENT)
        for event in events:
            yield event


def _renamed(body: dict[str, Any], record: Record) -> bytes:
    if "model" in body:
        body["model"] = record.model
    record.take(body)
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")
