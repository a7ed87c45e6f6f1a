"""Who asks, and how much at once."""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from door.errors import Refusal
from door.settings import Limits, Settings, digest

INTERNAL = "internal"
"""Name of the servers' own key; `sqltune.node_contracts.api_keys` keeps it from users."""
EVERYBODY = ""
"""Name of the key where none is needed."""
RETRY_AFTER = 1
"""Seconds after which a request that was one too many may come again."""
MAX_ANSWERS = 8
"""Answers that one request may have: FastChat computes all of them at the same time."""


def key_name(settings: Settings, authorization: str) -> str:
    """The name of the key that a request presents.

    Every key is compared, in constant time: how long it takes tells nothing.

    Args:
        settings: The keys.
        authorization: The header, `Bearer KEY`.

    Raises:
        Refusal: The key is none of them.
    """
    scheme, _, key = authorization.partition(" ")
    presented = digest(key.strip()) if scheme.lower() == "bearer" else ""
    known = {**settings.keys, INTERNAL: settings.internal_key}
    names = [
        name for name, expected in known.items() if hmac.compare_digest(expected, presented) and presented
    ]
    if names:
        return names[0]
    if not settings.keys and not settings.requires_key:
        return EVERYBODY
    problem = "the API key is wrong" if key else "there is no API key"
    raise Refusal(
        401,
        f"{problem}: send the header Authorization: Bearer KEY",
        "invalid_api_key",
        {"WWW-Authenticate": "Bearer"},
    )


class Slots:
    """Requests that are answered now, by the name of their key."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    @contextmanager
    def taken(self, key: str, limits: Limits) -> Iterator[None]:
        """Count a request while it is answered; the servers' own requests are not counted.

        Raises:
            Refusal: The key, or all keys together, have as many requests as they may.
        """
        if key == INTERNAL:
            yield
            return
        self._require_room(key, limits)
        self._taken[key] += 1
        try:
            yield
        finally:
            self._taken[key] -= 1

    def _require_room(self, key: str, limits: Limits) -> None:
        for taken, limit, whose in (
            (self._taken[key], limits.requests_per_key, "of this key"),
            (self._taken.total(), limits.requests, "in all"),
        ):
            if taken >= limit:
                raise Refusal(
                    429,
                    f"{taken} requests {whose} are answered now, which is the limit: ask again in a moment",
                    "rate_limit_exceeded",
                    {"Retry-After": str(RETRY_AFTER)},
                )


def require_few_answers(body: dict[str, Any]) -> None:
    """Refuse a request for more than `MAX_ANSWERS` answers, which would take one place only.

    Args:
        body: The request; FastChat gives `n` answers to each of its prompts.

    Raises:
        Refusal: They are too many, or `n` is no integer.
    """
    n = 1 if body.get("n") is None else body["n"]
    # Checked here: FastChat would read "9" and 9.0 as 9.
    if type(n) is not int:
        raise Refusal(400, f"n is a JSON {type(n).__name__}: send an integer", "invalid_n")
    prompt = body.get("prompt")
    # A list of numbers is one prompt, as tokens; FastChat too looks at the first one only.
    prompts = len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1
    if n * prompts > MAX_ANSWERS:
        message = (
            f"n × prompts is {n} × {prompts}, and one request has {MAX_ANSWERS} answers at most: send fewer"
        )
        raise Refusal(400, message, "too_many_answers")
