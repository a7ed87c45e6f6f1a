"""The SQLite file that the records are kept in by default."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqltune.records import database

WAL = b"\x02\x02"
"""File format write and read version at offset 18, https://www.sqlite.org/fileformat2.html#the_database_header."""


def test_a_new_file_is_in_wal_mode_before_anybody_connects(monkeypatch, tmp_path):
    path = tmp_path / "home" / "records.db"
    monkeypatch.setenv("SQLTUNE_DATABASE_URL", f"sqlite:///{path}")
    database.engine()
    assert path.read_bytes()[18:20] == WAL
    database.close()


def test_creating_the_file_leaves_nothing_beside_it(tmp_path):
    database._create_sqlite_file(tmp_path / "records.db")
    assert [file.name for file in tmp_path.iterdir()] == ["records.db"]


def test_a_file_that_another_process_created_meanwhile_is_kept(tmp_path):
    path: Path = tmp_path / "records.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE kept (a INTEGER)")
    database._create_sqlite_file(path)
    assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("kept",)]
    other.close()
