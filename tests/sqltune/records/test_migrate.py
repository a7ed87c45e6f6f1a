"""Migrations, on an empty database of each engine."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError

from sqltune.records import database, installation
from sqltune.records.base import Base
from sqltune.records.errors import SchemaError
from sqltune.records.migrate import MIGRATIONS, migrate, upgrade
from sqltune.records.models import ClusterClaim
from tests.conftest import ROOT


def test_migrate_creates_what_the_models_describe(empty_database):
    migrate()
    with database.engine().connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": database.VERSION_TABLE})
        assert compare_metadata(context, Base.metadata) == []


def test_migrate_twice_changes_nothing(empty_database):
    assert migrate() == migrate()


def test_migrate_by_two_processes_at_once_succeeds(empty_database):
    script = "from sqltune.records.migrate import migrate; print(migrate())"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONPATH": str(ROOT / "plugins")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    results = [(*process.communicate(timeout=60), process.returncode) for process in started]
    assert [(out.strip(), code) for out, _, code in results] == [(database.HEAD, 0)] * 2, results


def test_migrate_creates_the_database_that_is_missing(postgres, monkeypatch):
    monkeypatch.setenv("SQLTUNE_DATABASE_URL", postgres.url("not there-yet"))
    migrate()
    assert installation.name()
    database.close()


def test_migrate_fails_where_no_server_answers(monkeypatch, tmp_path):
    monkeypatch.setenv("SQLTUNE_DATABASE_URL", f"postgresql+psycopg2://me@/records?host={tmp_path}")
    with pytest.raises(OperationalError, match="connection to server"):
        migrate()
    database.close()


def test_a_run_that_trains_during_the_upgrade_keeps_its_turn(empty_database):
    """Of several claims on a cluster, the newest is its."""
    with database.engine().execution_options(writes=True).begin() as connection:
        upgrade(connection, "0009")
        for number, cluster in enumerate(["left", "left", "right"]):
            runs = (
                "INSERT INTO runs (key, run_id, cluster, recipe, fingerprint, dataset_repo, dataset_commit,"
                " plan, created_at, active_at)"
                " VALUES (:name, :name, :cluster, '', :name, '', '', '{}', :at, :at)"
            )
            claims = "INSERT INTO training_claims VALUES (:name, 'retrain', :name, :at)"
            values = {
                "name": f"r{number}",
                "cluster": cluster,
                "at": datetime(2026, 1, 1 + number, tzinfo=UTC),
            }
            for statement in (runs, claims):
                connection.execute(text(statement), values)
    migrate()
    with database.reading() as session:
        held = {claim.cluster: claim.run_id for claim in session.scalars(select(ClusterClaim))}
    assert held == {"left": "r1", "right": "r2"}


def test_the_expected_revision_is_the_newest_migration():
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == database.HEAD


def test_an_unmigrated_database_is_refused_in_one_line(empty_database):
    with pytest.raises(SchemaError) as e:
        installation.name()
    assert str(e.value).endswith("has no tables of sqltune: run: sqltune migrate")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("revision", "message"),
    [
        ("0000", "has schema 0000.* run: sqltune migrate"),
        ("9999", "schema 9999, newer than .* update sqltune"),
    ],
)
def test_a_database_with_another_schema_is_refused(engine, revision, message):
    with database.engine().begin() as connection:
        connection.execute(text(f"UPDATE {database.VERSION_TABLE} SET version_num = '{revision}'"))
    with pytest.raises(SchemaError, match=message):
        installation.name()


def test_migrate_refuses_a_newer_database(engine):
    with database.engine().begin() as connection:
        connection.execute(text(f"UPDATE {database.VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(SchemaError, match="update sqltune"):
        migrate()


def test_the_password_of_the_database_is_in_no_message(monkeypatch):
    monkeypatch.setenv("SQLTUNE_DATABASE_URL", "postgresql+psycopg2://me:hidden@host/records")
    assert "hidden" not in database.mismatch(None)


def test_the_default_database_is_a_file_under_the_home(records):
    installation.name()
    assert (records / "records.db").stat().st_size > 0
    with database.engine().connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"


def test_a_forked_process_opens_connections_of_its_own(engine):
    name = installation.name()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if installation.name() == name else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert installation.name() == name
