"""Before and after as the page shows them: the numbers, and question by question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import get_args

from sqltune.evaluation import stored
from sqltune.evaluation.audit.flags import Flags, count_by_reason, merged
from sqltune.evaluation.questions import REFERENCE
from sqltune.evaluation.score import Tally
from sqltune.evaluation.statistics import PairedComparison, compare, wilson
from sqltune.evaluation.verdict import Verdict
from sqltune.records import comparisons
from sqltune.records.comparisons import (
    AnswerColumns,
    AnswerFilter,
    ComparedAnswer,
    ComparedLine,
    JudgedQuestion,
)
from sqltune.records.evaluations import JudgementRecord, Phase
from sqltune.sql.shape import clauses
from sqltune.ui import contracts
from sqltune.ui.database_names import database_name
from sqltune.ui.errors import NotRecorded

MOST_QUESTIONS = 10_000
"""The most that a recipe can evaluate."""

Pair = tuple[JudgedQuestion, JudgedQuestion]
"""Both models' outcomes on one question."""


def comparison(key: str, against: str | None = None) -> contracts.Comparison:
    """Return a run's result before and after, in numbers.

    Args:
        key: The run.
        against: Another run, whose candidate takes the place of "before"; there is no verdict then.
    """
    verdict = None if against else stored.verdict(key)
    before = comparisons.outcomes(*_before(key, against))
    after = comparisons.outcomes(key, "after")
    pairs = _counted_pairs(before, after)
    buckets = Counter(comparisons.change(old.outcome, new.outcome) for old, new in pairs)
    return contracts.Comparison(
        before=_side(*_before(key, against), before),
        after=_side(key, "after", after),
        reference=None if against else _side(key, "reference", comparisons.outcomes(key, "reference")),
        buckets={change: buckets[change] for change in get_args(contracts.Change)},
        paired=_paired(pairs) if pairs else None,
        without_doubtful=_without_doubtful(pairs, _flags(key, against, verdict), verdict),
        passed=verdict.passed if verdict else None,
        headline=verdict.headline if verdict else None,
        rules=list(verdict.rules) if verdict else [],
    )


def questions(
    key: str, shown: AnswerFilter, limit: int, offset: int, against: str | None = None
) -> contracts.Questions:
    """Return a run's questions with what both models made of them, filtered, in the suite's order."""
    if shown.change is not None:
        shown = replace(shown, without_tag=REFERENCE, without_outcome="gold_invalid")
    page = comparisons.lines(key, shown, limit, offset, against)
    flags = _flags(key, against)
    return contracts.Questions.model_validate(
        {"total": page.total, "questions": [_line(row, flags) for row in page.rows]}
    )


def whole_questions(key: str) -> list[contracts.Question]:
    """Return every question of a run with both answers, in the suite's order."""
    return _whole(key, AnswerFilter(), MOST_QUESTIONS)


def question(key: str, name: str, against: str | None = None) -> contracts.Question:
    """Return one question of a run with both answers.

    Raises:
        NotRecorded: The run has not been evaluated on that question.
    """
    found = _whole(key, AnswerFilter(name=name), 1, against)
    if not found:
        raise NotRecorded(f"run {key!r} has no question {name!r} that both models answered")
    return found[0]


def _before(key: str, against: str | None) -> tuple[str, Phase]:
    return (against, "after") if against else (key, "before")


def _side(key: str, phase: Phase, outcomes: Sequence[JudgedQuestion]) -> contracts.Side | None:
    summary = stored.summary(key, phase)
    if summary is None:
        return None
    return contracts.Side(
        model=summary.model,
        summary=summary,
        interval=wilson(summary.matched, summary.questions),
        by_database=_by_database(outcomes),
    )


def _by_database(outcomes: Sequence[JudgedQuestion]) -> dict[str, Tally]:
    counted = [(database_name(o.database, o.context), o.outcome) for o in outcomes if not _left_out(o)]
    evaluated = Counter(name for name, _ in counted)
    matched = Counter(name for name, outcome in counted if outcome == "match")
    return {
        name: Tally(matched=matched[name], evaluated=count)
        for name, count in sorted(evaluated.items())
        if name
    }


def _counted_pairs(before: Sequence[JudgedQuestion], after: Sequence[JudgedQuestion]) -> list[Pair]:
    """Pair the outcomes of two models, as far as they enter the numbers."""
    known = {o.question: o for o in before}
    return [(known[o.question], o) for o in after if o.question in known and not _left_out(o)]


def _paired(pairs: Sequence[Pair]) -> PairedComparison:
    changes = Counter(comparisons.change(old.outcome, new.outcome) for old, new in pairs)
    return compare(len(pairs), changes["gained"], changes["lost"])


def _flags(key: str, against: str | None, verdict: Verdict | None = None) -> Flags:
    """Why gold queries are doubtful: as the gate had it, else as both evaluations had it."""
    if against is None and (verdict := verdict or stored.verdict(key)):
        return verdict.flags
    return merged(stored.flags(*_before(key, against)), stored.flags(key, "after"))


def _without_doubtful(
    pairs: Sequence[Pair], flags: Flags, verdict: Verdict | None
) -> contracts.WithoutDoubtful | None:
    doubtful = {new.name: flags[new.name] for _, new in pairs if new.name in flags}
    if not doubtful:
        return None
    rest = [pair for pair in pairs if pair[1].name not in doubtful]
    rules = verdict.rules if verdict else ()
    same = next((rule.passed for rule in rules if rule.id == "doubtful_golds"), None)
    return contracts.WithoutDoubtful(
        doubtful=len(doubtful),
        by_reason=count_by_reason(doubtful),
        before=_tally([old for old, _ in rest]),
        after=_tally([new for _, new in rest]),
        paired=_paired(rest),
        decisive=None if same is None else not same,
    )


def _tally(outcomes: Sequence[JudgedQuestion]) -> Tally:
    return Tally(matched=sum(o.outcome == "match" for o in outcomes), evaluated=len(outcomes))


def _left_out(judged: JudgedQuestion) -> contracts.LeftOut | None:
    return _why_left_out(judged.tags, judged.outcome)


def _why_left_out(tags: Collection[str], outcome: str) -> contracts.LeftOut | None:
    """Why a question enters no number, from its tags and the outcome of an answer to it."""
    if REFERENCE in tags:
        return "reference_prompt"
    return "gold_does_not_run" if outcome == "gold_invalid" else None


def _line(row: ComparedLine | ComparedAnswer, flags: Flags) -> dict[str, object]:
    asked = row.question
    return {
        "id": asked.name,
        "question": asked.question,
        "gold": asked.gold,
        "database_name": database_name(asked.database, asked.context),
        "language": asked.language,
        "hardness": asked.hardness,
        "clauses": clauses(asked.gold),
        "guarded": asked.must_not_break,
        "left_out": _why_left_out(asked.tags, row.after.outcome),
        "flags": flags.get(asked.name, ()),
        "change": comparisons.change(row.before.outcome, row.after.outcome),
        "before": _short_answer(row.before),
        "after": _short_answer(row.after),
    }


def _short_answer(judged: AnswerColumns | JudgementRecord) -> dict[str, object]:
    return {
        "sql": judged.sql,
        "outcome": judged.outcome,
        "failure_class": judged.failure_class,
        "error_class": judged.error_class,
        "correct": judged.outcome == "match",
        "vacuous": judged.vacuous,
    }


def _whole(key: str, shown: AnswerFilter, limit: int, against: str | None = None) -> list[contracts.Question]:
    flags = _flags(key, against)
    return [
        contracts.Question.model_validate(
            _line(row, flags)
            | {
                "context": row.question.context,
                "database": row.question.database,
                "before": _answer(row.before),
                "after": _answer(row.after),
            }
        )
        for row in comparisons.compare(key, shown, limit, against=against).rows
    ]


def _answer(judged: JudgementRecord) -> dict[str, object]:
    return _short_answer(judged) | {"text": judged.answer, "reason": judged.reason}
