"""Who asks, and how much at once."""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from door.errors import Refusal
from door.settings import Limits, Settings, digest

INTERNAL = "internal"
"""Name of the servers' own key; `sqltune.node_contracts.api_keys` keeps it from users."""
EVERYBODY = ""
"""Name of the key where none is needed."""
RETRY_AFTER = 1
"""Seconds after which a request that was one too many may come again."""


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
    if not settings.keys:
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
