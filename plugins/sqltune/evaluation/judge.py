"""Execution match of one pair of queries: do they return the same rows on the same database?

The semantics are those of the official test-suite evaluation of Spider (Zhong, Yu and Klein, EMNLP 2020),
implemented independently: columns in any order, rows as a multiset, DISTINCT dropped from both queries, and
the order of rows counts where the gold query orders. The strict outcome, with columns in place and DISTINCT
kept, is determined as well. Without a database, the pair runs on several synthetic ones (`synthetic`).
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqltune.evaluation.failures import FailureClass, QueryFailed
from sqltune.evaluation.result_rows import same_rows
from sqltune.evaluation.sandbox import Database, Row
from sqltune.evaluation.synthetic import COPIES, build
from sqltune.sql.queries import (
    has_limit,
    has_order_by,
    same_spelling,
    with_joined_operators,
    with_ties_broken,
    without_distinct,
    yields_a_set,
)

Outcome = Literal["match", "mismatch", "invalid", "gold_invalid"]

MAX_COPIES = 2 * COPIES
"""Synthetic databases built for one pair, at most; those with an ambiguous gold query do not count."""


@dataclass(frozen=True)
class Pair:
    """A gold query and a predicted one.

    Attributes:
        gold: the gold query.
        predicted: the predicted query.
        context: CREATE TABLE statements, for synthetic databases.
        database: file the queries run on; None for synthetic databases.
        check_ties: report whether the gold query has several correct answers on the database's file.
    """

    gold: str
    predicted: str
    context: str = ""
    database: str | None = None
    check_ties: bool = False


@dataclass(frozen=True)
class Match:
    """The outcome for one pair.

    Attributes:
        outcome: `match`, `mismatch`, `invalid` (the prediction does not run) or `gold_invalid`.
        reason: why it is not a match.
        strict: whether it is one with columns in place and DISTINCT kept.
        vacuous: whether both queries returned no rows.
        failure_class: why the prediction does not run.
        tied: whether rows tie at the gold query's LIMIT, so that its result is one of several; known on a
            database file where the pair asks for it.
    """

    outcome: Outcome
    reason: str = ""
    strict: bool = False
    vacuous: bool = False
    failure_class: FailureClass | None = None
    tied: bool = False

    @property
    def matched(self) -> bool:
        """Whether the rows are the expected ones."""
        return self.outcome == "match"


class GoldQueryFailed(Exception):
    """The gold query returned no rows."""


class GoldQueryAmbiguous(Exception):
    """The gold query has several correct answers on this synthetic database, so it proves nothing."""


@dataclass(frozen=True)
class Comparison:
    """What one database says about a pair."""

    matched: bool
    strict: bool
    vacuous: bool
    tied: bool = False

    def __and__(self, other: Comparison) -> Comparison:
        return Comparison(
            self.matched and other.matched, self.strict and other.strict, self.vacuous and other.vacuous
        )


@dataclass(frozen=True)
class ComparedRows:
    """The rows of both queries on one database as they are compared: DISTINCT dropped, sets as sets.

    Attributes:
        gold: rows of the gold query.
        predicted: rows of the predicted query.
        ordered: whether the order of rows counts.
    """

    gold: list[Row]
    predicted: list[Row]
    ordered: bool

    @property
    def matched(self) -> bool:
        """Whether they are the same rows."""
        return same_rows(self.gold, self.predicted, ordered=self.ordered)


class JudgingDatabase:
    """A database that pairs are judged on; keeps the rows of gold queries, which are often needed again.

    Args:
        database: the database.
        synthetic: whether its rows are generated, so that ties mean nothing.
    """

    def __init__(self, database: Database, *, synthetic: bool) -> None:
        self._database = database
        self._synthetic = synthetic
        self._gold_rows: dict[str, list[Row]] = {}

    def compare(self, pair: Pair, *, accept_ambiguous: bool = False) -> Comparison:
        """Compare the two queries' rows, loosely and strictly.

        Args:
            pair: the queries.
            accept_ambiguous: judge by order even where the gold query leaves it open, because no
                database decides.

        Raises:
            QueryFailed: the predicted query does not run.
            GoldQueryFailed: the gold query does not run.
            GoldQueryAmbiguous: the gold query has several correct answers here.
        """
        gold, predicted = with_joined_operators(pair.gold), with_joined_operators(pair.predicted)
        if same_spelling(gold, predicted):
            predicted = gold
        loose_gold, loose_predicted = without_distinct(gold), without_distinct(predicted)
        expected = self._gold(loose_gold)
        result = self._rows(loose_predicted)
        compared = self._compared(gold, expected, result, accept_ambiguous)
        matched, strict = compared.matched, False
        if matched or loose_gold != gold or loose_predicted != predicted:
            strict_expected = expected if loose_gold == gold else self._gold(gold)
            strict_result = result if loose_predicted == predicted else self._rows(predicted)
            strict = same_rows(
                strict_expected, strict_result, ordered=compared.ordered, permute_columns=False
            )
        look_for_ties = pair.check_ties and not self._synthetic and has_limit(gold)
        tied = look_for_ties and self._has_ties(loose_gold, expected)
        return Comparison(matched, strict, vacuous=not expected and not result, tied=tied)

    def rows(self, pair: Pair, *, accept_ambiguous: bool = False) -> ComparedRows:
        """Return the rows by which a pair matches or not; takes and raises the same as `compare`."""
        gold, predicted = with_joined_operators(pair.gold), with_joined_operators(pair.predicted)
        expected = self._gold(without_distinct(gold))
        result = self._database.rows(without_distinct(predicted))
        return self._compared(gold, expected, result, accept_ambiguous)

    def _compared(
        self, gold: str, expected: list[Row], result: list[Row], accept_ambiguous: bool
    ) -> ComparedRows:
        ordered = has_order_by(gold) and self._order_counts(
            without_distinct(gold), expected, accept_ambiguous
        )
        if self._synthetic and yields_a_set(gold):
            expected, result = _deduplicated(expected), _deduplicated(result)
        return ComparedRows(expected, result, ordered)

    def _rows(self, query: str) -> list[Row]:
        known = self._gold_rows.get(query)
        return self._database.rows(query) if known is None else known

    def _gold(self, query: str) -> list[Row]:
        if query not in self._gold_rows:
            try:
                self._gold_rows[query] = self._database.rows(query)
            except QueryFailed as e:
                raise GoldQueryFailed(str(e)) from None
        return self._gold_rows[query]

    def _order_counts(self, gold: str, expected: list[Row], accept_ambiguous: bool) -> bool:
        """Return whether the order of rows is compared, for a gold query that orders.

        On a real database always. On a synthetic one, rows that tie may come in any order; and where breaking
        the ties one way or the other gives other rows (`ORDER BY … LIMIT 1` over equals), it is ambiguous.
        """
        if not self._synthetic or not expected or accept_ambiguous:
            return True
        ascending, descending = self._with_ties_broken(gold, expected)
        if Counter(ascending) != Counter(descending):
            raise GoldQueryAmbiguous
        return ascending == descending

    def _has_ties(self, gold: str, expected: list[Row]) -> bool:
        """Return whether breaking ties one way or the other gives other rows."""
        try:
            ascending, descending = self._with_ties_broken(gold, expected)
        except GoldQueryFailed:
            # Its ORDER BY takes no further column: nothing is known of its ties.
            return False
        return Counter(ascending) != Counter(descending)

    def _with_ties_broken(self, gold: str, expected: list[Row]) -> tuple[list[Row], list[Row]]:
        columns = len(expected[0]) if expected else 1
        ascending, descending = (self._gold(with_ties_broken(gold, columns, way)) for way in (False, True))
        return ascending, descending

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def _deduplicated(rows: list[Row]) -> list[Row]:
    return list(dict.fromkeys(rows))


class Judge:
    """Judges pairs in this process. Keeps databases open, with the rows of their gold queries."""

    def __init__(self) -> None:
        self._files: dict[str, JudgingDatabase] = {}

    def judge(self, pair: Pair) -> Match:
        """Return the outcome for one pair.

        Never raises: a prediction that cannot be judged affects no other question.
        """
        try:
            comparison = self._compare(pair)
        except GoldQueryFailed as e:
            return Match("gold_invalid", str(e))
        except QueryFailed as e:
            return Match("invalid", str(e), failure_class=e.failure_class)
        except sqlite3.Error as e:
            return Match("gold_invalid", f"the database can't be opened or built: {e}")
        except (MemoryError, RecursionError) as e:
            return Match("invalid", type(e).__name__, failure_class="too_large")
        except Exception as e:
            # Whatever else a prediction provokes. A literal beyond SQLite's integers once ended a whole run.
            return Match("invalid", f"can't be judged: {type(e).__name__}: {e}", failure_class="other")
        if comparison.matched:
            return Match("match", strict=comparison.strict, vacuous=comparison.vacuous, tied=comparison.tied)
        return Match("mismatch", "other rows", strict=comparison.strict)

    def _compare(self, pair: Pair) -> Comparison:
        if pair.database is None:
            return _compare_on_copies(pair)
        if pair.database not in self._files:
            database = Database.open_file(Path(pair.database))
            self._files[pair.database] = JudgingDatabase(database, synthetic=False)
        return self._files[pair.database].compare(pair)


def _compare_on_copies(pair: Pair) -> Comparison:
    """Compare a pair on synthetic databases until enough of them agree, or one tells the queries apart."""
    comparisons: list[Comparison] = []
    total = Comparison(matched=True, strict=True, vacuous=True)
    for copy in range(MAX_COPIES):
        with _synthetic_database(pair, copy) as database:
            try:
                comparisons.append(database.compare(pair))
            except GoldQueryAmbiguous:
                continue
        total &= comparisons[-1]
        # A query equals itself: whether it returns rows is all that is left to know.
        is_known = same_spelling(pair.gold, pair.predicted) and not total.vacuous
        if is_known or len(comparisons) == COPIES or not (total.matched or total.strict):
            return total
    if comparisons:
        return total
    # The gold query is ambiguous on every copy: compare by the order that the first one returns.
    with _synthetic_database(pair, 0) as database:
        return database.compare(pair, accept_ambiguous=True)


def synthetic_copy(pair: Pair, copy: int) -> sqlite3.Connection:
    """Build one of a pair's synthetic databases, in memory.

    Raises:
        sqlite3.Error: the pair's context can't be read.
    """
    queries = (with_joined_operators(pair.gold), with_joined_operators(pair.predicted))
    return build(pair.context, queries, copy)


@contextmanager
def _synthetic_database(pair: Pair, copy: int) -> Iterator[JudgingDatabase]:
    database = JudgingDatabase(Database(synthetic_copy(pair, copy)), synthetic=True)
    try:
        yield database
    finally:
        database.close()
