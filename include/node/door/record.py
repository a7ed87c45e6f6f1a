"""One request: what the access log and the metrics say of it."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request

from door.names import Target
from door.trial_files import Arm

REQUEST_ID = "X-Request-Id"
"""Header of a request's id, in requests and responses."""
CLIENT_GONE = 499
"""Status of a request whose client did not wait for the answer; no client sees it."""
_SANE_ID = re.compile(r"[A-Za-z0-9._:+/=-]{1,128}")


@dataclass
class Record:
    """A request, filled in while it is answered.

    Attributes:
        id: Its id: the client's, where that is short and plain, else a new one.
        path: Path of the API.
        client: Address of the client.
        key: Name of the key.
        model: Served name that was asked for.
        target: What the name stood for.
        stream: Whether the answer is a stream.
        status: HTTP status of the response.
        usage: Tokens, where the answer says how many.
        prompt: What was asked; logged only where the settings say so.
        trial: Its part in a trial: shadow (a copy of it was sent), copy, canary (the candidate answered),
            fallback (the candidate failed to, and the champion answered); empty: none.
        arm: The model of a trial that it counts for; None: it counts for none.
        texts: The texts of the answer by their number; None where they are not kept.
        answer_seconds: Seconds that the model took for the answer.
        began: Time of its headers (`time.monotonic`).
    """

    id: str
    path: str
    client: str
    key: str = ""
    model: str = ""
    target: Target | None = None
    stream: bool = False
    status: int = 0
    usage: dict[str, int] = field(default_factory=dict)
    prompt: Any = None
    trial: str = ""
    arm: Arm | None = None
    texts: dict[int, str] | None = None
    answer_seconds: float = 0
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, request: Request) -> Record:
        """The record of a request that has just come."""
        wanted = request.headers.get(REQUEST_ID, "")
        return cls(
            id=wanted if _SANE_ID.fullmatch(wanted) else uuid.uuid4().hex,
            path=request.url.path,
            client=request.client.host if request.client else "",
        )

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began

    @property
    def version(self) -> str:
        """Version that answered; empty where none did."""
        return self.target.version if self.target else ""

    @property
    def headers(self) -> dict[str, str]:
        """Headers of every response to it."""
        return {REQUEST_ID: self.id} | (self.target.headers if self.target else {})

    def back_to_champion(self) -> None:
        """Forget an attempt of the candidate, which the champion answers in its place."""
        self.trial, self.arm, self.target = "fallback", None, None
        self.status, self.stream, self.usage = 0, False, {}

    def take(self, body: dict[str, Any]) -> None:
        """Keep what an answer, or an event of it, says: its tokens, and its texts where they are kept."""
        self._take_usage(body.get("usage"))
        if self.texts is not None:
            for number, text in _texts(body):
                self.texts[number] = self.texts.get(number, "") + text

    def _take_usage(self, usage: Any) -> None:
        counts = usage if isinstance(usage, dict) else {}
        kinds = ("prompt_tokens", "completion_tokens")
        self.usage = {kind: counts[kind] for kind in kinds if isinstance(counts.get(kind), int)} or self.usage

    def line(self, *, with_prompt: bool) -> str:
        """Its line of the access log, as JSON."""
        content = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "id": self.id,
            "client": self.client,
            "key": self.key,
            "path": self.path,
            "model": self.model,
            "version": self.version,
            "run": self.target.run if self.target else "",
            "status": self.status,
            "stream": self.stream,
            "seconds": round(self.seconds, 3),
            **self.usage,
            **({"trial": self.trial} if self.trial else {}),
            **({"prompt": self.prompt} if with_prompt else {}),
        }
        return json.dumps(content)


def texts_of(record: Record) -> list[str]:
    """The texts of an answer, without the blanks around them."""
    return [text.strip() for _, text in sorted((record.texts or {}).items())]


def _texts(body: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """Number and text of each choice: of a completion, a chat's message, or a part of a stream."""
    choices = body.get("choices")
    for choice in choices if isinstance(choices, list) else []:
        if isinstance(choice, dict):
            message = choice.get("message") or choice.get("delta") or {}
            text = choice.get("text") or message.get("content")
            yield int(choice.get("index") or 0), text if isinstance(text, str) else ""
