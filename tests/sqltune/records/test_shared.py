"""A machine that carries a part of a run has the database and the log store that the run was planned with."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from sqltune.config.plan import RunPlan
from sqltune.records import database, installation
from sqltune.records.errors import LogStoreError, OtherDatabase, SchemaError
from sqltune.records.logstore import check_log_store
from sqltune.records.shared import require_database_of, require_records_of
from tests.databases import migrated
from tests.plans import run_plan


@pytest.fixture
def plan(records) -> RunPlan:
    """A plan that was made with this machine's records."""
    check_log_store("r1")
    return run_plan(installation=installation.name())


def set_database(monkeypatch, url: str) -> None:
    database.close()
    monkeypatch.setenv("SQLTUNE_DATABASE_URL", url)


def test_the_records_of_the_plan_pass(plan):
    require_records_of(plan)


def test_another_database_is_refused(plan, monkeypatch, tmp_path):
    set_database(monkeypatch, migrated(f"sqlite:///{tmp_path}/other.db"))
    with pytest.raises(OtherDatabase, match=rf"{tmp_path}/other.db on .* \(its installation is \w{{8}}, the"):
        require_database_of(plan)


def test_a_database_without_tables_is_refused_as_another_one(plan, monkeypatch, tmp_path):
    """`sqltune migrate` would make it a second installation: that is not the remedy."""
    set_database(monkeypatch, f"sqlite:///{tmp_path}/forgotten.db")
    with pytest.raises(OtherDatabase, match="it has no tables of sqltune"):
        require_database_of(plan)


def test_a_database_of_a_newer_version_is_refused_by_its_schema(plan):
    with database.writing() as session:
        session.execute(text(f"UPDATE {database.VERSION_TABLE} SET version_num = '9999'"))
    database.close()
    with pytest.raises(SchemaError, match="newer"):
        require_database_of(plan)


def test_a_database_that_does_not_answer_passes(plan, monkeypatch):
    set_database(monkeypatch, "postgresql+psycopg2://sqltune:secret@127.0.0.1:1/sqltune")
    require_database_of(plan)


def test_the_message_has_no_password(plan, postgres, monkeypatch):
    with postgres.new_database("migrated") as url:
        set_database(monkeypatch, url.replace("sqltune@", "sqltune:secret@"))
        with pytest.raises(OtherDatabase) as refused:
            require_database_of(plan)
    assert "secret" not in str(refused.value)


def test_another_log_store_is_refused(plan, monkeypatch, tmp_path):
    monkeypatch.setenv("SQLTUNE_LOG_STORE", f"{tmp_path}/elsewhere")
    with pytest.raises(LogStoreError, match=rf"{tmp_path}/elsewhere on .* is not the log store"):
        require_records_of(plan)


def test_a_log_store_that_does_not_answer_passes(plan, s3_that_is_away, caplog):
    require_records_of(plan)
    assert "the log store does not answer" in caplog.text
