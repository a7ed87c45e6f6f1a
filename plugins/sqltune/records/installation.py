"""The name of this installation: it marks what belongs to these records on hosts that others may use too."""

from __future__ import annotations

import uuid

from sqltune.records import database
from sqltune.records.models import Installation


def name() -> str:
    """Return the installation's name, created once; an Airflow's address may be localhost."""
    with database.reading() as session:
        row = session.get(Installation, 1)
    if row is None:
        with database.writing() as session:
            # Of two processes that create it at the same time, the first one's stays.
            database.upsert(
                session, Installation, [{"id": 1, "name": uuid.uuid4().hex}], keys=["id"], update=False
            )
            row = session.get_one(Installation, 1)
    return row.name
