"""The gold audit of a suite: gathers the facts about each gold query, and applies the rules.

Whether the gold queries are right decides what a score is worth: a question whose gold is wrong counts
against the model that answers it correctly.
"""

from __future__ import annotations

import itertools
import re
import sqlite3
from collections.abc import Mapping, Sequence
from typing import cast

from sqltune.evaluation.audit.database_values import mentioned_values, text_values
from sqltune.evaluation.audit.flags import Flag, Flags, Reason
from sqltune.evaluation.audit.gold_literals import gold_literals
from sqltune.evaluation.audit.literal_rules import Literals
from sqltune.evaluation.audit.question_text import QuestionText, plain
from sqltune.evaluation.audit.rules import RULES, GoldFacts, can_be_satisfied
from sqltune.evaluation.execution_match import match_pairs
from sqltune.evaluation.judge import Match, Pair
from sqltune.evaluation.questions import Question
from sqltune.sql.schema import parse_context

_LETTERS_ONLY = re.compile(r"[\W_]+")


def audit(questions: Sequence[Question], processes: int | None = None) -> Flags:
    """Find the questions whose gold query is doubtful.

    Args:
        questions: the suite; each id once.
        processes: number of worker processes; by default as many as pay off on this machine's cores.

    Returns:
        Their flags by id.

    Raises:
        ScoringError: the worker process does not start.
    """
    on_rows = match_pairs(
        [Pair(q.gold, q.gold, q.context, q.database, check_ties=True) for q in questions], processes
    )
    on_synthetic = _on_synthetic(questions, on_rows, processes)
    contradicted = _contradicted(questions, processes)
    facts = [
        GoldFacts(q, match, on_synthetic.get(q.id), literals_of(q), contradicted.get(q.id, ()))
        for q, match in zip(questions, on_rows, strict=True)
    ]
    found = {f.question.id: _flags(f) for f in facts}
    return {name: flags for name, flags in found.items() if flags}


def _flags(facts: GoldFacts) -> tuple[Flag, ...]:
    details = [(rule.__name__, rule(facts)) for rule in RULES]
    return tuple(Flag(reason=cast(Reason, name), detail=detail) for name, detail in details if detail)


def _on_synthetic(
    questions: Sequence[Question], on_rows: Sequence[Match], processes: int | None
) -> dict[str, Match]:
    """Each query that returned no rows on its database, on synthetic ones."""
    empty = [
        (q, match)
        for q, match in zip(questions, on_rows, strict=True)
        if match.vacuous and can_be_satisfied(q)
    ]
    tried = [q for q, _ in empty if q.database]
    matches = match_pairs([Pair(q.gold, q.gold, q.context) for q in tried], processes)
    return {q.id: match for q, match in empty} | {
        q.id: match for q, match in zip(tried, matches, strict=True)
    }


def _contradicted(questions: Sequence[Question], processes: int | None) -> Mapping[str, tuple[str, ...]]:
    """For each question, the same questions whose gold query returns other rows."""
    groups: dict[tuple[str, str, str | None], list[Question]] = {}
    for question in questions:
        groups.setdefault(_asked(question), []).append(question)
    couples = [
        (a, b) for group in groups.values() for a, b in itertools.combinations(group, 2) if a.gold != b.gold
    ]
    matches = match_pairs([Pair(a.gold, b.gold, a.context, a.database) for a, b in couples], processes)
    others: dict[str, list[str]] = {}
    for (a, b), match in zip(couples, matches, strict=True):
        if match.outcome == "mismatch":
            others.setdefault(a.id, []).append(b.id)
            others.setdefault(b.id, []).append(a.id)
    return {name: tuple(ids) for name, ids in others.items()}


def _asked(question: Question) -> tuple[str, str, str | None]:
    """What two questions have in common that should have the same answer."""
    return _LETTERS_ONLY.sub("", plain(question.question)), question.context, question.database


def literals_of(question: Question) -> Literals:
    """Read the literals of a question and of its gold query."""
    names = _names(question.context)
    gold = gold_literals(question.gold, names)
    compared = [plain(text.strip("%_")) for text in gold.texts]
    known = [name for name in names if len(name) > 1]
    # A compared text such as 1-3 holds numbers that the question may contain.
    opaque = [text for text in compared if text and not text[0].isdigit()]
    values: tuple[str, ...] = ()
    if question.database:
        explained = [*known, *opaque, _title(question.database)]
        values = mentioned_values(
            question.question, text_values(question.database, question.context), explained
        )
    return Literals(
        question=QuestionText.read(question.question, [*map(plain, known), *opaque]),
        gold=gold,
        query=question.gold,
        names=names,
        values=values,
    )


def _names(context: str) -> frozenset[str]:
    """The tables and columns of a context, in lower case; none if it can't be read."""
    try:
        tables, _ = parse_context(context)
    except sqlite3.Error:
        return frozenset()
    columns = (column.name for table in tables for column in table.columns)
    return frozenset(name.lower() for name in (*(table.name for table in tables), *columns))


def _title(database: str) -> str:
    """The name of a database's file, which questions may contain."""
    return plain(re.split(r"[\\/]", database)[-1].rpartition(".")[0])
