"""The application: what is open to users, and what each request passes on its way."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from door.access import Slots, key_name, require_few_answers
from door.errors import ClientGone, Refusal
from door.exchange import Exchange
from door.metrics import Metrics
from door.names import Names
from door.record import CLIENT_GONE
from door.settings import Settings, SettingsFile
from door.trial import Trials
from door.upstream import Upstream

COMPLETIONS = ("/v1/completions", "/v1/chat/completions")
"""What is passed on to FastChat. Its other paths, such as embeddings and its own API, are not for users."""

LAST_WORDS = 5.0
"""Seconds for an error to reach a client, which may have stopped reading; then its connection is given up."""
MAX_NAME = 200
"""Characters of a model's name that are looked up, and quoted and logged where there is no such model."""


class Door:
    """The front door of a host's served models.

    Args:
        folder: Folder of the model servers: `door.json` and the workers' files.
        socket: Unix socket of FastChat's API.
        log: Takes the lines of the access log.
    """

    def __init__(self, folder: Path, socket: str, log: Callable[[str], None]) -> None:
        self._log = log
        self._settings, self._names = SettingsFile(folder), Names(folder)
        self._upstream = Upstream(socket, self._names)
        self._slots, self._metrics = Slots(), Metrics()
        self._trials = Trials(folder, self._upstream, self._metrics, log)

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/v1/models", _Guarded(self, self._models), methods=["GET"]),
                *(Route(path, _Guarded(self, self._complete), methods=["POST"]) for path in COMPLETIONS),
                Route("/health", self._health),
                Route("/metrics", self._show_metrics),
            ],
            exception_handlers={HTTPException: _not_here, Refusal: _refused},
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        yield
        await self._trials.close()
        await self._upstream.close()

    async def guard(self, exchange: Exchange, answer: Callable[[Exchange], Awaitable[None]]) -> None:
        """Answer a request that has a key and room, and write it down however it ends."""
        record = exchange.record
        try:
            await self._admit(exchange, answer)
        except Refusal as e:
            await _refuse(exchange, e)
        except ClientGone:
            record.status = CLIENT_GONE
        except Exception:
            traceback.print_exc()
            failure = Refusal(500, f"the front door failed on request {record.id}", "door_failed")
            await _refuse(exchange, failure)
        finally:
            self._metrics.ended(record)
            self._trials.ended(record)
            self._log(record.line(with_prompt=exchange.settings.log_prompts))

    async def _admit(self, exchange: Exchange, answer: Callable[[Exchange], Awaitable[None]]) -> None:
        settings, record = self._settings.current(), exchange.record
        exchange.settings = settings
        record.key = _key_of(settings, exchange.request)
        with self._slots.taken(record.key, settings.limits), self._metrics.in_flight(record.key):
            try:
                async with asyncio.timeout(settings.limits.seconds):
                    await answer(exchange)
            except TimeoutError as e:
                raise Refusal(
                    504, f"no whole answer within {settings.limits.seconds:g} s: ask for less", "timeout"
                ) from e

    async def _complete(self, exchange: Exchange) -> None:
        body, record = await exchange.body(), exchange.record
        record.model = str(body.get("model", ""))[:MAX_NAME]
        record.prompt = body.get("prompt", body.get("messages"))
        require_few_answers(body)
        await exchange.or_gone(self._trials.answer(exchange, body))

    async def _models(self, exchange: Exchange) -> None:
        models = [{"id": name, "object": "model", "owned_by": "sqltune"} for name in self._names.all()]
        await exchange.send_json(json.dumps({"object": "list", "data": models}).encode())

    async def _health(self, request: Request) -> Response:
        """Whether the worker of the public name answers; for load balancers, which have no key."""
        if problem := await self._upstream.health_problem(self._settings.current().public_name):
            return JSONResponse({"status": "unavailable", "problem": problem}, 503)
        return JSONResponse({"status": "ok"})

    async def _show_metrics(self, request: Request) -> Response:
        _key_of(self._settings.current(), request)
        return Response(self._metrics.text(), media_type=CONTENT_TYPE_LATEST)


class _Guarded:
    """An endpoint behind the guard. Not a function, which could not send an answer in parts."""

    def __init__(self, door: Door, answer: Callable[[Exchange], Awaitable[None]]) -> None:
        self._door, self._answer = door, answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._door.guard(Exchange(Request(scope, receive), send), self._answer)


async def _refuse(exchange: Exchange, refusal: Refusal) -> None:
    """Send an error within `LAST_WORDS`: no limit of the request holds for it any more."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LAST_WORDS):
            await exchange.refuse(refusal)


def _key_of(settings: Settings, request: Request) -> str:
    return key_name(settings, request.headers.get("Authorization", ""))


async def _refused(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    return Response(refusal.body, refusal.status, refusal.headers, "application/json")


async def _not_here(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    paths = ", ".join(("/v1/models", *COMPLETIONS))
    message = f"{request.method} {request.url.path} is not served here (served: {paths})"
    return await _refused(request, Refusal(error.status_code, message, "not_found", error.headers))
