"""Suites: the sets of questions a model is evaluated on.

A suite is a file `include/configs/regression/<name>.jsonl` with one question a line, or a benchmark: a folder
with `dev.jsonl` or `dev.json` and its databases `sqlite/<db_id>.sqlite`, under a folder that SQLTUNE_SUITES
names.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from sqltune.config import paths
from sqltune.config.loading import describe
from sqltune.dataset.rows import read_rows
from sqltune.environment import setting
from sqltune.errors import ConfigError, ScoringError
from sqltune.evaluation import corrections
from sqltune.evaluation.questions import REFERENCE, Question, question_from_row

HELD_OUT = "held_out"
"""Name of the suite of the dataset's own held-out questions."""


def assemble(
    sampled: Sequence[Question], further: Sequence[str] = (), limit: int | None = None
) -> list[Question]:
    """Return all questions of a run, their gold queries corrected.

    Args:
        sampled: the held-out questions of the dataset.
        further: names of further suites.
        limit: questions taken from each benchmark, at most.

    Raises:
        ConfigError: a further suite or the corrections are malformed, or a suite is missing.
    """
    questions = [*load(REFERENCE), *sampled, *(q for name in further for q in load(name, limit))]
    return corrections.apply(questions, corrections.load())


def held_out(rows: Sequence[Mapping[str, str]]) -> list[Question]:
    """Return the held-out rows as a suite; a row keeps its id in every sample."""
    return [
        Question(
            id=f"{HELD_OUT}-{_row_id(row)}",
            question=row["question"],
            context=row["context"],
            gold=row["answer"],
            tags=(HELD_OUT,),
        )
        for row in rows
    ]


def _row_id(row: Mapping[str, str]) -> str:
    text = "\n".join((row["question"], row["context"], row["answer"]))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def names() -> list[str]:
    """Return the names of the suites that a run may add to the held-out questions."""
    files = {path.stem for path in _file("*").parent.glob("*.jsonl")}
    return sorted((files - {REFERENCE}) | set(_benchmarks()))


def load(name: str, limit: int | None = None) -> list[Question]:
    """Return the questions of a suite.

    Args:
        name: name of the suite.
        limit: questions taken from a benchmark, at most: always the same ones.

    Raises:
        ConfigError: the suite is missing or malformed; names every mistake in it.
    """
    if name != REFERENCE and name not in names():
        choices = ", ".join(names()) or "none"
        raise ConfigError(
            [
                f"suites: {name!r} does not exist (choices: {choices}): add "
                f"include/configs/regression/{name}.jsonl, or put the benchmark's folder into one that "
                "SQLTUNE_SUITES names"
            ]
        )
    file = _file(name)
    return _load_file(file) if file.is_file() else _load_benchmark(_benchmarks()[name], limit)


def _file(name: str) -> Path:
    return paths.CONFIGS / "regression" / f"{name}.jsonl"


def _load_file(file: Path) -> list[Question]:
    questions: dict[str, Question] = {}
    mistakes: list[str] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        where = f"regression/{file.name} line {number}"
        try:
            question = Question.model_validate_json(line)
        except ValidationError as e:
            mistakes += describe(e, where)
            continue
        if question.id in questions:
            mistakes.append(f"{where}: id {question.id!r} is used before: give each question its own id")
        if question.database and not (file.parent / question.database).is_file():
            mistakes.append(f"{where}: database {question.database!r} is not in {file.parent}: add it there")
        questions[question.id] = _with_absolute_database(question, file.parent)
    if mistakes:
        raise ConfigError(mistakes)
    return list(questions.values())


def _with_absolute_database(question: Question, folder: Path) -> Question:
    if question.database is None:
        return question
    return question.model_copy(update={"database": str((folder / question.database).resolve())})


def _benchmarks() -> dict[str, Path]:
    """Return the benchmarks by name, from the folders in SQLTUNE_SUITES (separated by colons)."""
    roots = [Path(root).expanduser() for root in setting("SQLTUNE_SUITES").split(os.pathsep) if root]
    folders = [folder for root in roots if root.is_dir() for folder in sorted(root.iterdir())]
    return {f.name: f for f in folders if _questions_file(f) and (f / "sqlite").is_dir()}


def _questions_file(benchmark: Path) -> Path | None:
    files = (benchmark / "dev.jsonl", benchmark / "dev.json")
    return next((file for file in files if file.is_file()), None)


def _load_benchmark(folder: Path, limit: int | None) -> list[Question]:
    file = _questions_file(folder)
    assert file is not None
    rows = [(f"{folder.name}-{number:05d}", row) for number, row in enumerate(read_rows([file]))]
    # A sample by hash: the same questions every night, from all over the file.
    rows.sort(key=lambda item: hashlib.sha256(item[0].encode()).hexdigest())
    try:
        return [question_from_row(row, name, folder / "sqlite") for name, row in rows[:limit]]
    except ScoringError as e:
        raise ConfigError([f"suites: {folder.name}: {e}"]) from e
