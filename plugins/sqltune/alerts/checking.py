"""`sqltune alert`: who is told of what, and whether a test message arrives."""

from __future__ import annotations

import sys

from airflow.models.connection import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from sqltune.alerts.delivery import deliver, unknown_tags
from sqltune.alerts.event import Alert, Event
from sqltune.alerts.message import language
from sqltune.alerts.settings import CONNECTION, entries
from sqltune.environment import setting


def main(test: bool) -> int:
    """Print the entries and their mistakes; send each a message where `test` says so.

    Returns:
        The exit code: 1 without a Connection, after a mistake, and where a message did not arrive.
    """
    try:
        connection = Connection.get_connection_from_secrets(CONNECTION)
        listed = entries(connection)
    except AirflowNotFoundException:
        return _refuse(f"nobody is told of anything: there is no Connection {CONNECTION} (docs/alerts.md)")
    except ValueError as e:
        return _refuse(str(e))
    mistakes = [unknown_tags(entry) for entry in listed if entry.unknown_tags]
    wanted = setting("SQLTUNE_ALERT_LANGUAGE", language())
    if wanted != language():
        mistakes.append(f"SQLTUNE_ALERT_LANGUAGE is {wanted!r}, expected en or zh: English is used")
    for entry in listed:
        print(f"entry {entry.number} ({entry.scheme}): {', '.join(sorted(entry.tags)) or 'every event'}")
    failed = False
    if test:
        note = {"en": "Sent by sqltune alert --test.", "zh": "由 sqltune alert --test 发送。"}[language()]
        for delivery in deliver(Alert(Event.TEST, facts={"note": note}), connection):
            print(delivery)
            failed = failed or bool(delivery.error)
    return _refuse("\n".join(mistakes)) if mistakes else int(failed)


def _refuse(reason: str) -> int:
    print(reason, file=sys.stderr)
    return 1
