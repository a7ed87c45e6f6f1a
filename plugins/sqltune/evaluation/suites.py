"""Suites: the questions a model is judged by.

A suite is a file of `include/configs/regression/*.jsonl`, a question a line; or a folder of a benchmark with its databases (`dev.jsonl` or `dev.json`, and
`sqlite/<db_id>.sqlite`) under one of the folders that SQLTUNE_SUITES names.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sqltune.config import paths
from sqltune.config.loading import describe
from sqltune.dataset.rows import read_rows
from sqltune.errors import ConfigError, ScoringError
from sqltune.sql.normalise import normalise

REFERENCE = "reference"
"""Tag of the reference prompts; the file of that name is part of every suite."""
HELD_OUT = "held_out"
"""Name of the suite of the dataset's own held-out questions."""


class Question(BaseModel):
    """One question of a suite."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1, description="Names it for ever: scores of two models are paired by it.")
    question: str = Field(min_length=1)
    context: str = Field(description="CREATE TABLE statements, as they stand in the prompt.")
    gold: str = Field(min_length=1, description="The right query, for SQLite.")
    database: str | None = Field(
        None, description="SQLite file the queries run on; without one, databases are made from the context."
    )
    tags: list[str] = Field(default_factory=list)
    must_not_break: bool = Field(
        False, description="A model that answers it wrong, where the one before was right, is held back."
    )


def language(question: str) -> str:
    """zh when Chinese characters stand in the question, else en."""
    return "zh" if re.search(r"[\u4e00-\u9fff]", question) else "en"


def _folders() -> dict[str, Path]:
    """Benchmarks by name, from the folders in SQLTUNE_SUITES (divided by colons)."""
    roots = [
        Path(root).expanduser() for root in os.environ.get("SQLTUNE_SUITES", "").split(os.pathsep) if root
    ]
    return {
        folder.name: folder
        for root in roots
        if root.is_dir()
        for folder in sorted(root.iterdir())
        if _dev(folder) and (folder / "sqlite").is_dir()
    }


def _dev(folder: Path) -> Path | None:
    return next((folder / name for name in ("dev.jsonl", "dev.json") if (folder / name).is_file()), None)


def names() -> list[str]:
    """Suites that can be asked for beside the held-out questions."""
    return sorted(
        {p.stem for p in (paths.CONFIGS / "regression").glob("*.jsonl") if p.stem != REFERENCE}
        | set(_folders())
    )


def load(name: str, limit: int | None = None) -> list[Question]:
    """The questions of a suite, of a benchmark at most `limit`, by a fixed hash; `ConfigError` names what is wrong with it."""
    path = paths.CONFIGS / "regression" / f"{name}.jsonl"
    if name == REFERENCE or name in names():
        return _read(path) if path.is_file() else _benchmark(_folders()[name], limit)
    raise ConfigError(
        [
            f"suites: {name!r} is not there (there are: {', '.join(names()) or 'none'}): add include/configs/regression/{name}.jsonl, or name its folder in SQLTUNE_SUITES"
        ]
    )


def _read(path: Path) -> list[Question]:
    found: dict[str, Question] = {}
    mistakes: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            question = Question.model_validate_json(line)
        except ValidationError as e:
            mistakes += describe(e, f"regression/{path.name} line {number}")
            continue
        if question.id in found:
            mistakes.append(
                f"regression/{path.name} line {number}: id {question.id!r} stands there twice: give each question its own"
            )
        if question.database and not (path.parent / question.database).is_file():
            mistakes.append(
                f"regression/{path.name} line {number}: database {question.database!r} is not there (looked for it in {path.parent})"
            )
        found[question.id] = question.model_copy(
            update={"database": question.database and str((path.parent / question.database).resolve())}
        )
    if mistakes:
        raise ConfigError(mistakes)
    return list(found.values())


def _benchmark(folder: Path, limit: int | None) -> list[Question]:
    file = _dev(folder)
    assert file is not None
    rows = [(f"{folder.name}-{number:05d}", row) for number, row in enumerate(read_rows([file]))]
    rows.sort(key=lambda item: hashlib.sha256(item[0].encode()).hexdigest())
    try:
        return [from_row(row, name, folder / "sqlite") for name, row in rows[:limit]]
    except ScoringError as e:
        raise ConfigError([f"suites: {folder.name}: {e}"]) from e


def from_row(row: Any, name: str, databases: Path | None) -> Question:
    """A row of a data set as a question; the gold is its `query` or `answer_sqlite`, or its `answer` in SQLite's dialect.

    :param databases: folder of `<db_id>.sqlite` or `<db_id>/<db_id>.sqlite`; None for databases made from the row's `context`.

    `ScoringError` when the row has no gold, or its database is not there.
    """
    if not isinstance(row, dict):
        raise ScoringError(f"row {name}: {str(row)[:80]!r} is not an object")
    given = row.get("query") or row.get("answer_sqlite")
    gold = given or row.get("answer")
    if not isinstance(gold, str) or not gold.strip():
        raise ScoringError(f"row {name}: no query under 'query', 'answer_sqlite' or 'answer'")
    database = None
    context = str(row.get("context") or "")
    if databases:
        db = str(row.get("db_id") or "")
        database = _database(databases, db)
        if not db or database is None:
            raise ScoringError(
                f"row {name}: no database {db!r} in {databases} (db_id): name the folder that holds {db or '<db_id>'}.sqlite"
            )
        context = context or _context(str(database))
    elif not context:
        raise ScoringError(
            f"row {name}: no 'context' to make databases from: name the folder of the databases (--databases)"
        )
    return Question(
        id=name,
        question=str(row.get("question") or name),
        context=context,
        gold=given or _normalised(gold, context, database),
        database=database and str(database),
    )


@lru_cache
def _database(databases: Path, db: str) -> Path | None:
    """The file of a database; many rows ask for the same one."""
    return next(
        (d.resolve() for d in (databases / f"{db}.sqlite", databases / db / f"{db}.sqlite") if d.is_file()),
        None,
    )


def _normalised(answer: str, context: str, database: Path | None) -> str:
    if database is None:
        return normalise(answer, context).sql
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        return normalise(answer, connection=connection).sql


@lru_cache(maxsize=64)
def _context(database: str) -> str:
    """A database's CREATE TABLE statements."""
    with closing(sqlite3.connect(f"{Path(database).resolve().as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute(
            "SELECT sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND sql IS NOT NULL ORDER BY rowid"
        )
        return "; ".join(re.sub(r"\s+", " ", sql).strip() for (sql,) in rows)


def held_out(rows: Sequence[dict[str, str]]) -> list[Question]:
    """The held-out rows of a data set as a suite; an id is its row's own, wherever it stands in a sample."""
    return [
        Question(
            id=f"{HELD_OUT}-{_row_id(r)}",
            question=r["question"],
            context=r["context"],
            gold=r["answer"],
            tags=[HELD_OUT],
        )
        for r in rows
    ]


def _row_id(row: dict[str, str]) -> str:
    return hashlib.sha256("\n".join((row["question"], row["context"], row["answer"])).encode()).hexdigest()[
        :10
    ]


def assemble(
    rows: Sequence[dict[str, str]], further: Sequence[str] = (), limit: int | None = None
) -> list[Question]:
    """What a run asks: the reference prompts, the held-out rows, and further suites by name (of each benchmark at most `limit` questions)."""
    return [*load(REFERENCE), *held_out(rows), *(q for name in further for q in load(name, limit))]
