"""The records on both engines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from sqltune.records import database
from tests.databases import Postgres, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of the tests' own."""
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request, tmp_path, monkeypatch) -> Iterator[str]:
    """A database without tables, on each engine; its URL."""
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path}/records.db"
        if request.param == "postgresql":
            url = stack.enter_context(request.getfixturevalue("postgres").new_database())
        monkeypatch.setenv("SQLTUNE_DATABASE_URL", url)
        yield url
        database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request, records, monkeypatch) -> Iterator[str]:
    """A migrated database, on each engine; the engine's name."""
    with ExitStack() as stack:
        if request.param == "postgresql":
            server = request.getfixturevalue("postgres")
            url = stack.enter_context(server.new_database("migrated"))
            monkeypatch.setenv("SQLTUNE_DATABASE_URL", url)
        yield request.param


@pytest.fixture
def s3_that_is_away(monkeypatch) -> Iterator[None]:
    """A log store on an S3 server that does not answer."""
    from s3fs import S3FileSystem

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("SQLTUNE_LOG_STORE", "s3://logs/folder")
    # It remembers the server of the tests before, and would remember this one in the tests after.
    S3FileSystem.clear_instance_cache()
    yield
    S3FileSystem.clear_instance_cache()
