"""What `preflight` measured on the hosts of a run, and what it made of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from sqltune.node_contracts.preflight import HostCheck, MeasuredHost, PreflightResponse
from sqltune.records import database
from sqltune.records.models import HostCheckup
from sqltune.records.runs import number, touch
from sqltune.records.types import now


@dataclass(frozen=True)
class Checkup:
    """One host as `preflight` found it."""

    host: str
    at: datetime
    facts: MeasuredHost
    checks: list[HostCheck]


def put(run_key: str, host: str, response: PreflightResponse) -> None:
    """Record what was found on a host, in place of what was found before."""
    with database.writing() as session:
        run = number(session, run_key)
        row = {"run_id": run, "host": host, "at": now()} | response.model_dump(mode="json")
        database.upsert(session, HostCheckup, [row], keys=["run_id", "host"])
        touch(session, run)


def of_run(run_key: str) -> list[Checkup]:
    """Return what was found on each host of a run, by host."""
    with database.reading() as session:
        statement = select(HostCheckup).where(HostCheckup.run_id == number(session, run_key))
        return [
            Checkup(
                host=row.host,
                at=row.at,
                facts=MeasuredHost.model_validate(row.facts),
                checks=[HostCheck.model_validate(check) for check in row.checks],
            )
            for row in session.scalars(statement.order_by(HostCheckup.host))
        ]
