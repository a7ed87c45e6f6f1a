"""Requests to vLLM's OpenAI-style server."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import httpx
from fastchat.constants import ErrorCode

from batching.requests import RequestError
from vllm_bridge.command import MODEL


class Client:
    """A connection to vLLM.

    Args:
        socket: The Unix socket that it listens on.
    """

    def __init__(self, socket: str) -> None:
        # A connection for each request: vLLM closes one that is idle, perhaps just as it is used again.
        # Requests may wait for long in vLLM's queue.
        transport = httpx.AsyncHTTPTransport(
            uds=socket, limits=httpx.Limits(max_connections=None, max_keepalive_connections=0)
        )
        self._http = httpx.AsyncClient(transport=transport, base_url="http://vllm", timeout=None)

    async def complete(self, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """VLLM's answer, or the events of its stream that have a choice.

        vLLM stops computing when the iterator is closed before its end.

        Raises:
            RequestError: vLLM refuses the request, fails, or does not answer.
        """
        try:
            async with self._http.stream("POST", "/v1/completions", json=body) as response:
                if response.status_code != httpx.codes.OK:
                    raise _refusal(response.status_code, await response.aread())
                async for event in _events(response) if body.get("stream") else _whole(response):
                    if "error" in event:
                        raise _refusal(int(event["error"].get("code") or 500), json.dumps(event).encode())
                    if event["choices"]:
                        yield event
        except httpx.HTTPError as e:
            raise _silence(e) from e

    async def count_tokens(self, prompt: str) -> int:
        """Tokens of a prompt.

        Raises:
            RequestError: vLLM fails, or does not answer.
        """
        response = await self._call("/tokenize", {"model": MODEL, "prompt": prompt})
        return int(response.json()["count"])

    async def load_adapter(self, name: str, folder: Path) -> None:
        """Load an adapter, which answers to a name from then on.

        Raises:
            RequestError: vLLM cannot load it, or does not answer.
        """
        await self._call("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})

    async def unload_adapter(self, name: str) -> None:
        """Let an adapter answer no more.

        Raises:
            RequestError: There is none of that name, or vLLM does not answer.
        """
        await self._call("/v1/unload_lora_adapter", {"lora_name": name})

    async def _call(self, path: str, body: dict[str, Any]) -> httpx.Response:
        try:
            response = await self._http.post(path, json=body)
        except httpx.HTTPError as e:
            raise _silence(e) from e
        if response.status_code != httpx.codes.OK:
            raise _refusal(response.status_code, response.content)
        return response


async def _whole(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    yield json.loads(await response.aread())


async def _events(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in response.aiter_lines():
        data = line.removeprefix("data: ")
        if data != line and data != "[DONE]":
            yield json.loads(data)


def _silence(error: httpx.HTTPError) -> RequestError:
    message = f"vLLM does not answer ({error!r}): read the worker's log on the host"
    return RequestError(ErrorCode.INTERNAL_ERROR, message)


def _refusal(status: int, content: bytes) -> RequestError:
    """FastChat's error for one of vLLM's."""
    is_clients = 400 <= status < 500
    code = ErrorCode.VALIDATION_TYPE_ERROR if is_clients else ErrorCode.INTERNAL_ERROR
    return RequestError(code, f"vLLM refuses the request: {_message(content)}")


def _message(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return content[:300].decode(errors="replace")


def served_context(socket: str) -> int | None:
    """Tokens of the served model's context; None while vLLM does not answer."""
    transport = httpx.HTTPTransport(uds=socket)
    try:
        with httpx.Client(transport=transport, base_url="http://vllm", timeout=10) as http:
            response = http.get("/v1/models")
            response.raise_for_status()
            return int(response.json()["data"][0]["max_model_len"])
    except httpx.HTTPError:
        return None
