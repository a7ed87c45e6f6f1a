"""Who is told what: the entries of the Airflow Connection `sqltune_alerts`, of type apprise."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk.log import mask_secret

from sqltune.alerts.event import Event

if TYPE_CHECKING:
    from airflow.sdk import Connection

CONNECTION = "sqltune_alerts"


@dataclass(frozen=True)
class Entry:
    """One address to send to."""

    number: int
    """Its position in the Connection, from 1."""
    url: str
    """Apprise's URL; it holds the token."""
    tags: frozenset[str]
    """The events that it wants; empty: all."""

    @property
    def scheme(self) -> str:
        """What the URL begins with, such as `feishu`."""
        return self.url.partition("://")[0].lower()

    @property
    def unknown_tags(self) -> list[str]:
        """Tags that no event has: a typing error, and nothing would ever be sent for them."""
        return sorted(self.tags - set(Event))

    def wants(self, event: Event) -> bool:
        """Whether the entry is told of an event."""
        return not self.tags or event is Event.TEST or event.value in self.tags


def entries(connection: Connection) -> list[Entry]:
    """Return the entries of the Connection.

    Its extra has the key `config`, as Airflow's Apprise provider defines it: one object or a list of objects,
    each with `path` (the URL) and, optionally, `tag` (events, as a list or separated by commas or spaces).

    Raises:
        ValueError: The Connection is of another shape; the message holds no part of it.
    """
    config: Any = connection.extra_dejson.get("config")
    if isinstance(config, str):
        config = json.loads(config)
    listed = [config] if isinstance(config, dict) else config
    if not isinstance(listed, list) or not all(isinstance(e, dict) and e.get("path") for e in listed):
        raise ValueError(
            f"Connection {CONNECTION}: expected an extra like "
            '{"config": [{"path": "feishu://TOKEN", "tag": "failure,overrun"}]}'
        )
    # Airflow hides the extra as a whole; a URL alone would be shown.
    for entry in listed:
        mask_secret(entry["path"])
    return [Entry(at, entry["path"], _tags(entry.get("tag"))) for at, entry in enumerate(listed, start=1)]


def _tags(value: Any) -> frozenset[str]:
    listed = value if isinstance(value, list) else re.split(r"[,\s]+", str(value or ""))
    return frozenset(str(tag).strip() for tag in listed if str(tag).strip())
