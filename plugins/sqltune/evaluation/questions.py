"""A question of a suite, and rows of a dataset as questions."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from functools import lru_cache
from pathlib import Path

from pydantic import Field

from sqltune.errors import ScoringError
from sqltune.sql.create_table import quote_context
from sqltune.sql.normalise import normalise
from ssh_gang.model import Model

REFERENCE = "reference"
"""Tag of the reference prompts, and name of the file that holds them."""
CORRECTED = "corrected"
"""Tag of a question whose gold query is a correction."""
_CHINESE = re.compile(r"[\u4e00-\u9fff]")


class Question(Model):
    """One question of a suite."""

    id: str = Field(min_length=1, description="Permanent name: two models are compared by it.")
    question: str = Field(min_length=1, description="The question in natural language.")
    context: str = Field(description="CREATE TABLE statements, as in the prompt.")
    gold: str = Field(min_length=1, description="The expected query, in SQLite's dialect.")
    database: str | None = Field(
        None, description="SQLite file the queries run on; empty: synthetic databases from the context."
    )
    tags: tuple[str, ...] = Field((), description="Free labels; `reference` marks a reference prompt.")
    must_not_break: bool = Field(
        False, description="A candidate is held back if it fails it where the served model does not."
    )


def language(question: str) -> str:
    """Return `zh` when the question contains Chinese characters, else `en`."""
    return "zh" if _CHINESE.search(question) else "en"


def question_from_row(row: object, name: str, databases: Path | None) -> Question:
    """Return a row of a dataset as a question.

    Args:
        row: an object with the gold query under `gold`, `query` or `answer_sqlite`, or under `answer`, which
            is brought to SQLite's dialect.
        name: id of the question.
        databases: folder of `<db_id>.sqlite` or `<db_id>/<db_id>.sqlite`; None for synthetic databases,
            generated from the row's `context`.

    Raises:
        ScoringError: the row has no gold query, or its database is missing.
    """
    if not isinstance(row, dict):
        raise ScoringError(
            f"row {name}: {str(row)[:80]!r} is not an object: write each row as a JSON object with the gold "
            "query under 'query'"
        )
    database = _database_of(row, name, databases)
    context = str(row.get("context") or "")
    if not context and database is None:
        raise ScoringError(
            f"row {name}: no 'context' to generate databases from: add the CREATE TABLE statements, or name "
            "the folder of the databases (--databases)"
        )
    return Question(
        id=name,
        question=str(row.get("question") or name),
        # Like the contexts of the training rows.
        context=quote_context(context or _schema_of(database)),
        gold=_gold_of(row, name, context, database),
        database=database and str(database),
    )


def _gold_of(row: Mapping[str, object], name: str, context: str, database: Path | None) -> str:
    gold = row.get("gold") or row.get("query") or row.get("answer_sqlite")
    answer = gold or row.get("answer")
    if not isinstance(answer, str) or not answer.strip():
        raise ScoringError(
            f"row {name}: no query under 'gold', 'query', 'answer_sqlite' or 'answer': add one"
        )
    return answer if gold else _normalised(answer, context, database)


def _database_of(row: Mapping[str, object], name: str, databases: Path | None) -> Path | None:
    if databases is None:
        return None
    database_id = str(row.get("db_id") or "")
    database = _database_file(databases, database_id)
    if not database_id or database is None:
        raise ScoringError(
            f"row {name}: no database {database_id!r} in {databases} (db_id): "
            f"name the folder that holds {database_id or '<db_id>'}.sqlite"
        )
    return database


@lru_cache
def _database_file(databases: Path, database_id: str) -> Path | None:
    """Return the file of a database; cached, because many rows name the same one."""
    files = (databases / f"{database_id}.sqlite", databases / database_id / f"{database_id}.sqlite")
    return next((file.resolve() for file in files if file.is_file()), None)


def _normalised(answer: str, context: str, database: Path | None) -> str:
    if database is None:
        return normalise(answer, context).sql
    with closing(_open_read_only(database)) as connection:
        return normalise(answer, connection=connection).sql


@lru_cache(maxsize=64)
def _schema_of(database: Path) -> str:
    """Return a database's CREATE TABLE statements."""
    with closing(_open_read_only(database)) as connection:
        rows = connection.execute(
            "SELECT sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
            "AND sql IS NOT NULL ORDER BY rowid"
        )
        return "; ".join(re.sub(r"\s+", " ", sql).strip() for (sql,) in rows)


def _open_read_only(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)
