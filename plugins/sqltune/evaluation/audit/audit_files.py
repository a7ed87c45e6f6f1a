"""Audits a file of questions or a suite: what the command `sqltune audit` does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from sqltune.errors import ConfigError, ScoringError
from sqltune.evaluation import corrections, suites
from sqltune.evaluation.audit.agreement import models_agree
from sqltune.evaluation.audit.flags import Flag, Flags, count_by_reason, merged
from sqltune.evaluation.audit.gold_audit import audit
from sqltune.evaluation.questions import Question
from sqltune.evaluation.score_files import queries_of, read_questions
from sqltune.evaluation.scorer import score_queries

_COUPLE = 2
"""Files of predictions that can agree with each other."""


def audit_source(
    source: str, databases: Path | None = None, predictions: Sequence[Path] = (), as_json: bool = False
) -> str:
    """Audit the gold queries of a file or a suite.

    Args:
        source: a file of JSON lines or one JSON list, as for `sqltune score`; or the name of a suite, which
            is corrected first.
        databases: folder of the file's databases; by default the queries run on synthetic ones.
        predictions: two files of predictions, to find questions on which both contradict the gold query.
        as_json: return one JSON object a line instead of a report for people.

    Raises:
        ScoringError: a file can't be read, or the files do not fit together.
        DatasetError: the file is not JSON.
        ConfigError: there is neither a file nor a suite of that name, or the corrections have mistakes.
    """
    if len(predictions) not in (0, _COUPLE):
        raise ScoringError(f"--predictions: {len(predictions)} given: give two files, or none")
    questions = _questions(source, databases)
    flags = merged(audit(questions), _agreement(questions, predictions) if predictions else {})
    return _json_lines(questions, flags) if as_json else audit_report(questions, flags)


def _questions(source: str, databases: Path | None) -> list[Question]:
    file = Path(source)
    if file.is_file():
        return read_questions(file, databases, own_ids=True)
    if source not in suites.names():
        raise ConfigError(
            [
                f"{source!r} is neither a file nor a suite (suites: {', '.join(suites.names()) or 'none'}): "
                "correct the path, or name the suite's folder in SQLTUNE_SUITES"
            ]
        )
    return corrections.apply(suites.load(source), corrections.load())


def _agreement(questions: Sequence[Question], predictions: Sequence[Path]) -> Flags:
    before, after = (score_queries(file.stem, questions, queries_of(questions, file)) for file in predictions)
    return models_agree(questions, before, after)


def _json_lines(questions: Sequence[Question], flags: Mapping[str, tuple[Flag, ...]]) -> str:
    return "\n".join(
        json.dumps(
            {
                "id": q.id,
                "question": q.question,
                "gold": q.gold,
                "flags": [flag.model_dump() for flag in flags[q.id]],
            },
            ensure_ascii=False,
        )
        for q in questions
        if q.id in flags
    )


def audit_report(questions: Sequence[Question], flags: Mapping[str, tuple[Flag, ...]]) -> str:
    """Return the flagged questions with what was found, and the counts, for people."""
    lines: list[str] = []
    for question in (q for q in questions if q.id in flags):
        lines += [question.id, *(f"  {flag}" for flag in flags[question.id])]
        lines += [f"    question  {question.question}", f"    gold      {' '.join(question.gold.split())}"]
    lines += [f"{len(flags)} of {len(questions)} gold queries are doubtful"]
    lines += [f"  {reason:<23} {times}" for reason, times in count_by_reason(flags).items()]
    return "\n".join(lines)
