"""Refusals and failures, in the shape of OpenAI's API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

UNREACHABLE, GONE = "upstream_down", "model_not_found"
"""Codes of refusals: no worker answers to a name that is served; the name is not served."""
_FASTCHAT_CODES = {40301: GONE, 40303: "context_length_exceeded"}
_FIRST_SERVER_CODE = 50000
"""FastChat answers 400 to its own failures too; their codes begin here."""
UNKNOWN_MODEL = 40301
"""FastChat's code for a model that its controller does not know."""
NO_WORKER = 50005
"""FastChat's code, which `fastchat_api_compat.py` gives, for a worker or a controller that is not there."""


class Refusal(Exception):
    """A request that gets an error in place of an answer.

    Args:
        status: HTTP status.
        message: What was found and what to do.
        code: Short name of the error, for programs.
        headers: Further headers of the response.
    """

    def __init__(
        self, status: int, message: str, code: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, dict(headers or {})

    @property
    def body(self) -> bytes:
        """The response's body."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {"message": str(self), "type": kind, "param": None, "code": self.code}
        return json.dumps({"error": error}, ensure_ascii=False).encode()


class ClientGone(Exception):
    """The client has closed its connection."""


def fastchat_error(content: bytes) -> dict[str, Any] | None:
    """An error as FastChat writes it, `{"object": "error", "message": …, "code": …}`; None for others."""
    try:
        error = json.loads(content)
    except ValueError:
        return None
    return error if isinstance(error, dict) and error.get("object") == "error" else None


def refusal_of(status: int, content: bytes) -> Refusal:
    """What FastChat answered instead of a completion, as the door says it.

    Args:
        status: FastChat's HTTP status.
        content: FastChat's body.
    """
    if error := fastchat_error(content):
        return _fastchat_refusal(int(error["code"]), error["message"], status)
    text = content.decode(errors="replace")[:300]
    return Refusal(
        502 if status >= 500 else status, f"the model server answered {status}: {text}", str(status)
    )


def stream_refusal(event: dict[str, Any]) -> Refusal | None:
    """What a worker answered in a stream instead of text, which FastChat passes on; None for text.

    Args:
        event: The event: `{"text": …, "error_code": …}` where it is an error.
    """
    number = int(event.get("error_code") or 0)
    return _fastchat_refusal(number, event.get("text"), 400) if number else None


def _fastchat_refusal(number: int, message: object, status: int) -> Refusal:
    status = 500 if number >= _FIRST_SERVER_CODE else status
    return Refusal(status, str(message), _FASTCHAT_CODES.get(number, str(number)))
