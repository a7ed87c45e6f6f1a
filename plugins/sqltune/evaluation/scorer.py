"""Scores a model's answers: extracts the queries, judges them by execution match, and counts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from sqltune.errors import ScoringError
from sqltune.evaluation.audit.flags import Flag, count_by_reason
from sqltune.evaluation.diagnosis.steps import ERROR_CLASSES, ErrorClass
from sqltune.evaluation.execution_match import match_pairs
from sqltune.evaluation.failures import FAILURE_CLASSES
from sqltune.evaluation.judge import Match, Pair
from sqltune.evaluation.questions import Question, language
from sqltune.evaluation.score import JudgedAnswer, Score, Tally
from sqltune.evaluation.speed import Speed
from sqltune.sql.shape import CLAUSES, HARDNESS, clauses, hardness, same_query

_CODE_FENCE = re.compile(r"```(?:sql)?\s*(.*?)(?:```|$)", re.S | re.I)
_FIRST_STATEMENT = re.compile(r"(?:[^;'\"]|'[^']*'|\"[^\"]*\")*")
_ORDER = ("zh", "en", *HARDNESS, *CLAUSES)
"""Order in which the parts of a score are listed."""


def extract_sql(answer: str) -> str:
    """Return the query in a model's answer.

    It is taken out of a code fence if it is in one, and ends at the first semicolon outside quotes.
    """
    code_block = _CODE_FENCE.search(answer)
    text = (code_block[1] if code_block else answer).strip()
    statement = _FIRST_STATEMENT.match(text)
    return (statement[0] if statement else text).strip()


def score_answers(
    model: str, questions: Sequence[Question], answers: Mapping[str, str], processes: int | None = None
) -> Score:
    """Score a model's answers; a question without an answer counts as wrong.

    Args:
        model: name of the model.
        questions: the suite.
        answers: the model's answers by question id.
        processes: number of worker processes; by default as many as pay off on this machine's cores.

    Raises:
        ScoringError: two questions have the same id.
    """
    queries = {q.id: extract_sql(answers.get(q.id, "")) for q in questions}
    return score_queries(model, questions, queries, answers, processes)


def score_queries(
    model: str,
    questions: Sequence[Question],
    queries: Mapping[str, str],
    answers: Mapping[str, str] | None = None,
    processes: int | None = None,
) -> Score:
    """Score queries that are already extracted from their answers.

    Args:
        model: name of the model.
        questions: the suite.
        queries: the predicted queries by question id.
        answers: the answers they were extracted from, to be recorded; by default the queries.
        processes: number of worker processes; by default as many as pay off on this machine's cores.

    Raises:
        ScoringError: two questions have the same id, so that one would be scored for the other.
    """
    _check_ids(questions)
    answers = queries if answers is None else answers
    matches = match_pairs([Pair(q.gold, queries[q.id], q.context, q.database) for q in questions], processes)
    judged = [
        _judged(q, queries[q.id], answers.get(q.id, ""), result)
        for q, result in zip(questions, matches, strict=True)
    ]
    return count(model, judged)


def _check_ids(questions: Iterable[Question]) -> None:
    repeated = [name for name, times in Counter(q.id for q in questions).items() if times > 1]
    if repeated:
        raise ScoringError(
            f"id: {', '.join(repeated[:5])} occurs more than once in the suite: give each question its own id"
        )


def _judged(question: Question, query: str, answer: str, result: Match) -> JudgedAnswer:
    return JudgedAnswer(
        id=question.id,
        question=question.question,
        expected_sql=question.gold,
        answer=answer,
        sql=query,
        outcome=result.outcome,
        reason=result.reason,
        strict=result.strict,
        # Parsing is the most expensive part; only a query that returned the expected rows can be the same.
        exact=result.matched and same_query(question.gold, query),
        vacuous=result.matched and result.vacuous,
        failure_class=result.failure_class,
        error_class=_error_class(question, query) if result.outcome == "mismatch" else None,
        tags=question.tags,
        must_not_break=question.must_not_break,
    )


def _error_class(question: Question, query: str) -> ErrorClass:
    # Here, because it takes the parser with it: the gate counts scores, and parses nothing.
    from sqltune.evaluation.diagnosis.diagnose import diagnose

    return diagnose(question.gold, query, question.context).error_class


def count(
    model: str,
    answers: Sequence[JudgedAnswer],
    flags: Mapping[str, tuple[Flag, ...]] | None = None,
    speed: Speed | None = None,
) -> Score:
    """Count judged answers.

    Args:
        model: name of the model.
        answers: the answers, in the order of the suite.
        flags: what the gold audit found, by question id.
        speed: how fast the answers came; None where it was not measured.
    """
    counted = [a for a in answers if a.counted]
    flags = {a.id: flags[a.id] for a in answers if flags and a.id in flags}
    unflagged = [a for a in counted if a.id not in flags]
    return Score(
        model=model,
        questions=len(counted),
        matched=sum(a.correct for a in counted),
        strict=sum(a.strict for a in counted),
        exact=sum(a.exact for a in counted),
        vacuous=sum(a.vacuous for a in counted),
        invalid=sum(a.outcome == "invalid" for a in counted),
        invalid_by_class=_by_failure(counted),
        mismatched_by_class=_by_error(counted),
        not_judged=sum(a.outcome == "gold_invalid" and not a.is_reference_prompt for a in answers),
        by_language=_tallies(((language(a.question),), a) for a in counted),
        by_hardness=_tallies(((hardness(a.expected_sql),), a) for a in counted),
        by_clause=_tallies((clauses(a.expected_sql), a) for a in counted),
        reference_prompts={a.id: a.correct for a in answers if a.is_reference_prompt},
        flagged=count_by_reason(flags),
        unflagged=Tally(matched=sum(a.correct for a in unflagged), evaluated=len(unflagged)),
        corrected=sum(a.is_corrected for a in answers),
        speed=speed,
        answers=tuple(answers),
        flags=flags,
    )


def with_flags(score: Score, flags: Mapping[str, tuple[Flag, ...]]) -> Score:
    """Return a score counted with these flags in place of its own."""
    return count(score.model, score.answers, flags, score.speed)


def without_flagged(score: Score) -> Score:
    """Return the score of the questions whose gold query has no flag; the speed stays that of all answers."""
    return count(score.model, [a for a in score.answers if a.id not in score.flags], speed=score.speed)


def _by_failure(counted: Iterable[JudgedAnswer]) -> dict[str, int]:
    times = Counter(a.failure_class or "other" for a in counted if a.outcome == "invalid")
    return {name: times[name] for name in FAILURE_CLASSES if name in times}


def _by_error(counted: Iterable[JudgedAnswer]) -> dict[str, int]:
    times = Counter(a.error_class for a in counted if a.error_class)
    return {name: times[name] for name in ERROR_CLASSES if name in times}


def _tallies(grouped: Iterable[tuple[Sequence[str], JudgedAnswer]]) -> dict[str, Tally]:
    evaluated: Counter[str] = Counter()
    matched: Counter[str] = Counter()
    for names, answer in grouped:
        evaluated.update(names)
        matched.update(names if answer.correct else ())
    return {
        name: Tally(matched=matched[name], evaluated=evaluated[name])
        for name in sorted(evaluated, key=_ORDER.index)
    }
