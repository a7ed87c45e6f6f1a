"""Scores a file of predictions against a file of gold queries: what the command `sqltune score` does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from sqltune.dataset.rows import read_rows
from sqltune.errors import ScoringError
from sqltune.evaluation.audit.gold_audit import audit
from sqltune.evaluation.questions import Question, question_from_row
from sqltune.evaluation.report import comparison_table, score_report
from sqltune.evaluation.scorer import score_queries, with_flags
from sqltune.sql.queries import first_word


def score_files(
    gold: Path,
    predictions: Path,
    databases: Path | None = None,
    as_json: bool = False,
    *,
    after: Path | None = None,
) -> str:
    """Score a file of predictions, or two of them side by side.

    Args:
        gold: JSON lines or one JSON list, with the gold query under `query`, `answer_sqlite` or `answer`
            (which is brought to SQLite's dialect), the database's name under `db_id` and its CREATE TABLE
            statements under `context`.
        predictions: one query a line, or a JSON list of queries or of objects with `result`.
        databases: folder of `<db_id>.sqlite` or `<db_id>/<db_id>.sqlite`; by default the queries run on
            synthetic databases, generated from each row's `context`.
        as_json: return one JSON object instead of a report for people.
        after: a second file of predictions, to compare the first with.

    Raises:
        ScoringError: a file can't be read, or the files do not fit together.
        DatasetError: the gold file is not JSON.
    """
    questions = read_questions(gold, databases)
    files = [predictions, *([after] if after else [])]
    queries = {file: queries_of(questions, file) for file in files}
    flags = audit(questions)
    before, *others = [
        with_flags(score_queries(file.stem, questions, queries[file]), flags) for file in files
    ]
    if not others:
        return before.summary.model_dump_json() if as_json else score_report(before)
    if as_json:
        scores = {"before": before.summary, "after": others[0].summary}
        return json.dumps({name: score.model_dump(mode="json") for name, score in scores.items()})
    return comparison_table(before, others[0])


def read_questions(gold: Path, databases: Path | None = None, *, own_ids: bool = False) -> list[Question]:
    """Return the questions of a gold file; their ids are the numbers of its rows, with six digits.

    Args:
        gold: the file, as in `score_files`.
        databases: folder of the databases, or None.
        own_ids: take the rows' own ids where each row has another one.

    Raises:
        ScoringError: the file or a database can't be read.
        DatasetError: the file is not JSON.
    """
    if databases and not databases.is_dir():
        raise ScoringError(
            f"--databases: {databases} is not a folder: name the one that holds <db_id>.sqlite"
        )
    try:
        rows = list(read_rows([gold]))
    except (OSError, UnicodeError) as e:
        raise ScoringError(f"{gold}: can't be read ({e})") from e
    names = _own_ids(rows) if own_ids else []
    names = names or [f"{number:06d}" for number in range(1, len(rows) + 1)]
    return [question_from_row(row, name, databases) for row, name in zip(rows, names, strict=True)]


def _own_ids(rows: Sequence[object]) -> list[str]:
    """The rows' own ids; none if a row has none, or two have the same."""
    ids = [str(row.get("id") or "") for row in rows if isinstance(row, dict)]
    return ids if all(ids) and len(set(ids)) == len(rows) else []


def queries_of(questions: Sequence[Question], predictions: Path) -> dict[str, str]:
    """Return the predicted queries of a file by question id.

    Args:
        questions: the questions, in the order of the predictions.
        predictions: the file, as in `read_predictions`.

    Raises:
        ScoringError: the file can't be read, or has more or fewer predictions than there are questions.
    """
    queries = read_predictions(predictions)
    if len(questions) != len(queries):
        raise ScoringError(
            f"{len(questions)} rows and in {predictions} {len(queries)} predictions: "
            "give one prediction for each row, in the order of the rows"
        )
    return {question.id: query for question, query in zip(questions, queries, strict=True)}


def read_predictions(file: Path) -> list[str]:
    """Return the predicted queries of a file.

    Args:
        file: one query a line, or a JSON list of queries or of objects with `result`, whose leading SELECT
            may be missing (the format in which ChatGPT's predictions for Spider were published).

    Raises:
        ScoringError: the file can't be read, or an item holds no query.
    """
    try:
        text = file.read_text(encoding="utf-8")
        if not text.lstrip().startswith("["):
            return text.splitlines()
        items = json.loads(text)
    except (OSError, ValueError) as e:
        raise ScoringError(f"{file}: can't be read ({e})") from e
    return [_query(item, f"{file} item {number}") for number, item in enumerate(items, 1)]


def _query(item: object, where: str) -> str:
    query = item.get("result") if isinstance(item, dict) else item
    if not isinstance(query, str):
        text = json.dumps(item, ensure_ascii=False)[:120]
        raise ScoringError(
            f"{where}: {text} is not a query: write a text, or an object with a text under 'result'"
        )
    complete = not isinstance(item, dict) or first_word(query) in ("select", "with")
    return query if complete else f"SELECT {query}"
