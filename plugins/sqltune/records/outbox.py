"""Changes that MLflow has not received yet, in the order in which they are sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, or_, select, update

from sqltune.records import database
from sqltune.records.models import MlflowMessage
from sqltune.records.types import now

LEASE = timedelta(minutes=15)
"""How long one process has to send a message; after that another one may."""


@dataclass(frozen=True)
class Message:
    """A version that MLflow is to know, or that is the champion now."""

    id: int
    what: str
    """version or champion."""
    cluster: str
    number: int
    created_at: datetime


def put(what: str, cluster: str, number: int) -> None:
    """Add a message at the end."""
    with database.writing() as session:
        session.add(MlflowMessage(what=what, cluster=cluster, number=number, created_at=now()))


def waiting() -> list[Message]:
    """Return the messages that were not sent yet, oldest first."""
    with database.reading() as session:
        return [_message(row) for row in session.scalars(select(MlflowMessage).order_by(MlflowMessage.id))]


def claim_first() -> Message | None:
    """Take the oldest message for sending; None when the queue is empty, or another process is sending it."""
    moment = now()
    free = or_(MlflowMessage.claimed_until.is_(None), MlflowMessage.claimed_until < moment)
    with database.writing() as session:
        first = session.scalar(select(func.min(MlflowMessage.id)))
        claimed = session.scalar(
            update(MlflowMessage)
            .where(MlflowMessage.id == first, free)
            .values(claimed_until=moment + LEASE)
            .returning(MlflowMessage)
        )
        return None if claimed is None else _message(claimed)


def sent(message: Message) -> None:
    """Remove a message that MLflow has taken."""
    with database.writing() as session:
        session.execute(delete(MlflowMessage).where(MlflowMessage.id == message.id))


def give_back(message: Message) -> None:
    """Leave a message that could not be sent to the next attempt; it stays the first in line."""
    with database.writing() as session:
        session.execute(
            update(MlflowMessage).where(MlflowMessage.id == message.id).values(claimed_until=None)
        )


def _message(row: MlflowMessage) -> Message:
    return Message(
        id=row.id, what=row.what, cluster=row.cluster, number=row.number, created_at=row.created_at
    )
