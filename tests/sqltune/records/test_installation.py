"""What names these records elsewhere."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sqltune.records import database, installation


def test_the_name_stays(engine):
    assert installation.name() == installation.name()
    assert len(installation.name()) == 32


def test_many_that_ask_at_once_get_one_name(engine):
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: installation.name(), range(16)))) == 1


def test_other_records_have_another_name(records, monkeypatch, tmp_path, migrated_sqlite):
    name = installation.name()
    database.close()
    other = tmp_path / "other.db"
    other.write_bytes(migrated_sqlite.read_bytes())
    monkeypatch.setenv("SQLTUNE_DATABASE_URL", f"sqlite:///{other}")
    assert installation.name() != name
