"""Sends an alert to every entry that wants it, through Apprise, and says what arrived."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqltune.alerts.event import Alert, Event
from sqltune.alerts.message import Message, language, message, without_secrets
from sqltune.alerts.settings import CONNECTION, Entry, entries

if TYPE_CHECKING:
    from airflow.sdk import Connection
    from apprise import NotifyType
    from apprise.result import NotifyResult

log = logging.getLogger(__name__)

RETRIES = 3
RETRY_WAIT = 2.0
"""Seconds between two tries, beside Apprise's own pause of up to 5.5 s after each request to a service."""
TIME_LIMIT = 30.0
"""Seconds for all entries and tries: Airflow's DAG processor ends a callback after 50 s by default."""

# What Apprise logs may hold a URL, and so its token. Each try's own lines are in the result.
logging.getLogger("apprise").propagate = False
logging.getLogger("apprise").addHandler(logging.NullHandler())
# At DEBUG it logs each request's path, which is the token of most services.
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)


@dataclass(frozen=True)
class Delivery:
    """What became of an alert at one entry."""

    number: int
    """The entry's position in the Connection, from 1."""
    service: str
    """Name of the service; never its address, which holds a token."""
    error: str
    """Why it did not arrive; empty: it did."""
    tries: int = 1

    def __str__(self) -> str:
        name = f"entry {self.number} ({self.service})"
        if not self.error:
            return f"{name}: delivered"
        return f"{name}: not delivered after {self.tries} tries: {self.error}"


def deliver(alert: Alert, connection: Connection) -> list[Delivery]:
    """Send an alert to the entries that want it; return what became of it at each.

    Args:
        alert: What happened.
        connection: The Connection `sqltune_alerts`.

    Raises:
        ValueError: The Connection is not of the expected shape.
    """
    listed = entries(connection)
    for entry in listed:
        if entry.unknown_tags:
            log.warning("%s", unknown_tags(entry))
    wanting = [entry for entry in listed if entry.wants(alert.event)]
    return _send(message(alert, language()), wanting, alert.event) if wanting else []


def unknown_tags(entry: Entry) -> str:
    """Return a remark about an entry's tags that name no event."""
    return (
        f"Connection {CONNECTION}, entry {entry.number} ({entry.scheme}): no event is called "
        f"{', '.join(entry.unknown_tags)}; expected {', '.join(Event)}"
    )


def _send(text: Message, to: Sequence[Entry], event: Event) -> list[Delivery]:
    # Imported here: Apprise takes a second, and a DAG file is parsed for every task.
    from apprise import Apprise, AppriseAsset

    from sqltune.alerts.services import service

    asset = AppriseAsset(
        app_id="sqltune", default_service_retry=RETRIES, default_service_wait=RETRY_WAIT, async_mode=True
    )
    services = {entry: service(entry.url, asset) for entry in to}
    apprise = Apprise(asset=asset)
    for found in services.values():
        if found is not None:
            apprise.add(found)
    sent = apprise.notify(
        body=text.body, title=text.title, notify_type=_type(event), body_format="text", timeout=TIME_LIMIT
    )
    # Apprise keeps the order of the services.
    results = iter(sent)
    return [
        _unreadable(entry) if found is None else _outcome(entry, next(results, None))
        for entry, found in services.items()
    ]


def _unreadable(entry: Entry) -> Delivery:
    error = f"Apprise cannot read a URL like this {entry.scheme}://…: compare with docs/alerts.md"
    return Delivery(entry.number, entry.scheme, error, tries=0)


def _outcome(entry: Entry, result: NotifyResult | None) -> Delivery:
    if result is None:
        return Delivery(entry.number, entry.scheme, "Apprise says nothing of it", tries=0)
    attempts = list(result)
    if result:
        return Delivery(entry.number, result.name, "", len(attempts))
    lines = [line.message for attempt in attempts for line in attempt]
    reason = without_secrets(lines[-1]) if lines else f"no answer within {TIME_LIMIT:.0f} s"
    return Delivery(entry.number, result.name, reason, len(attempts))


def _type(event: Event) -> NotifyType:
    from apprise import NotifyType

    match event:
        case Event.FAILURE | Event.DATA_CHECK:
            return NotifyType.FAILURE
        case Event.HELD_BACK | Event.OVERRUN | Event.LOSS | Event.DISK:
            return NotifyType.WARNING
        case Event.PROMOTED:
            return NotifyType.SUCCESS
    return NotifyType.INFO
