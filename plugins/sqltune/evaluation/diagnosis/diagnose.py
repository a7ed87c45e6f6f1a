"""The error class of a wrong answer: what is wrong with it, by its syntax tree and the gold query's."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from functools import lru_cache

from sqltune.evaluation.diagnosis.differences import differences
from sqltune.evaluation.diagnosis.parts import Query
from sqltune.evaluation.diagnosis.reader import UnreadableQuery, read_query
from sqltune.evaluation.diagnosis.scope import Columns
from sqltune.evaluation.diagnosis.steps import Difference, ErrorClass, Step
from sqltune.sql.normalise import normalise
from sqltune.sql.queries import with_joined_operators
from sqltune.sql.schema import Table, parse_context

MAX_LENGTH = 4_000
"""Characters of a query that is compared."""
MAX_DIFFERENCES = 12
"""Differences that are listed; an answer to another question has dozens."""


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with an answer.

    Attributes:
        error_class: the class of the difference that one would repair first.
        differences: all differences, in the order of repair.
    """

    error_class: ErrorClass
    differences: tuple[Difference, ...]


def diagnose(gold: str, answer: str, context: str = "") -> Diagnosis:
    """Find out what is wrong with an answer whose rows are not the expected ones.

    Never raises: an answer that can't be compared is `other`.

    Args:
        gold: the gold query, in SQLite's dialect or DuSQL's.
        answer: the answer, in either dialect.
        context: CREATE TABLE statements of the tables that both read.
    """
    try:
        return _diagnose(gold, answer, context)
    except UnreadableQuery as e:
        return _other(str(e))
    except Exception as e:
        # Whatever else an answer provokes: it must cost no other answer its class.
        return _other(f"can't be compared ({type(e).__name__})")


def _diagnose(gold: str, answer: str, context: str) -> Diagnosis:
    tables = _tables(context)
    columns = {name: frozenset(c.name.lower() for c in table.columns) for name, table in tables.items()}
    actual = _read(answer, context, columns)
    try:
        expected = _read(gold, context, columns)
    except UnreadableQuery as e:
        return _other(f"can't be compared: the gold query {e}")
    read = expected.all_tables() | actual.all_tables()
    result = differences(expected, actual, tables)
    if not result:
        return _other("differs in nothing that the syntax trees show")
    if len(read) == 1:
        result = [_without_table(difference, *read) for difference in result]
    return Diagnosis(result[0].error_class, tuple(result[:MAX_DIFFERENCES]))


def _read(sql: str, context: str, columns: Columns) -> Query:
    if len(sql) > MAX_LENGTH:
        raise UnreadableQuery(f"is longer than {MAX_LENGTH:,} characters")
    return read_query(with_joined_operators(normalise(sql, context).sql), columns)


def _other(text: str) -> Diagnosis:
    difference = Difference(Step.REST, text)
    return Diagnosis(difference.error_class, (difference,))


@lru_cache(maxsize=512)
def _tables(context: str) -> dict[str, Table]:
    try:
        return {table.name.lower(): table for table in parse_context(context)[0]} if context else {}
    except sqlite3.Error:
        return {}


def _without_table(difference: Difference, table: str) -> Difference:
    """Where there is only one table, its name before each column says nothing."""
    return Difference(difference.step, re.sub(rf"(?<![\w.]){re.escape(table)}\.", "", difference.text))
