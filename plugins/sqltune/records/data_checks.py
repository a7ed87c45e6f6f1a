"""What the data check of a run found in its dataset."""

from __future__ import annotations

from sqlalchemy import select

from sqltune.node_contracts.data_check import DataCheck
from sqltune.records import database
from sqltune.records.models import DataCheckRecord
from sqltune.records.runs import number, touch
from sqltune.records.types import now


def put(run_key: str, check: DataCheck) -> None:
    """Record what was found, in place of what was found before."""
    with database.writing() as session:
        run = number(session, run_key)
        row = {"run_id": run, "found": check.model_dump(mode="json"), "at": now()}
        database.upsert(session, DataCheckRecord, [row], keys=["run_id"])
        touch(session, run)


def get(run_key: str) -> DataCheck | None:
    """Return what was found, or None before `download_dataset`."""
    with database.reading() as session:
        found = session.scalar(
            select(DataCheckRecord.found).where(DataCheckRecord.run_id == number(session, run_key))
        )
    return None if found is None else DataCheck.model_validate(found)
