"""Execution match: do two queries say the same of the same database?

The semantics are those of the official test-suite evaluation of Spider (Zhong, Yu and Klein, EMNLP 2020), in our own words and code: columns may
stand in another order, rows are a multiset, DISTINCT is dropped from both queries, and the order of rows counts where the gold orders. Beside it the
strict verdict, with columns in place and DISTINCT kept. Where there is no database, several are made from the context (`made_database`).

Queries run in guarded processes (`sandbox`), started as plain programs and not by multiprocessing, which would import the caller's main
program there: in a task, all of Airflow's command line.
"""

from __future__ import annotations

import json
import os
import selectors
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from sqltune.errors import ScoringError
from sqltune.evaluation.sandbox import MAX_SECONDS, Database, Refused, Row, Trouble, confine
from sqltune.evaluation.synthetic import COPIES, build
from sqltune.sql.tokens import drops_duplicates, mended, orders, with_ties_broken, without_distinct

Verdict = Literal["match", "mismatch", "invalid", "gold_invalid"]

ITEMS_A_PROCESS = 300
"""A process more is worth its start from this many pairs on."""
GRACE = 3.0
"""Seconds over the limits of its queries after which a pair's process is killed."""


@dataclass(frozen=True)
class Pair:
    """A gold query and a predicted one, over a database file, or where `database` is None over databases made from the context."""

    gold: str
    predicted: str
    context: str = ""
    database: str | None = None


@dataclass(frozen=True)
class Match:
    """The verdict on one prediction.

    `strict` is the verdict with columns in place and DISTINCT kept; `vacuous` says that gold and prediction both returned nothing;
    `trouble` is the class of a prediction that is invalid.
    """

    verdict: Verdict
    reason: str = ""
    strict: bool = False
    vacuous: bool = False
    trouble: Trouble | None = None

    @property
    def matched(self) -> bool:
        return self.verdict == "match"


def _plain(rows: Sequence[Row]) -> list[Row]:
    """Rows with the noise of adding floats in another order taken off."""
    if not any(isinstance(v, float) for row in rows for v in row):
        return list(rows)
    return [tuple(float(f"{v:.11g}") if isinstance(v, float) else v for v in row) for row in rows]


def same_rows(gold: Sequence[Row], predicted: Sequence[Row], ordered: bool, permute: bool = True) -> bool:
    """Whether two results say the same: rows as a multiset, or as a list where they are `ordered`; columns in any order if `permute`."""
    if not gold and not predicted:
        return True
    if len(gold) != len(predicted) or len(gold[0]) != len(predicted[0]):
        return False
    left, right = _plain(gold), _plain(predicted)
    if (left == right) if ordered else (Counter(left) == Counter(right)):
        return True
    return (
        permute
        and len(left[0]) > 1
        and _same_permuted(list(zip(*left, strict=True)), list(zip(*right, strict=True)), ordered)
    )


def _same_permuted(gold: list[Row], predicted: list[Row], ordered: bool) -> bool:
    """Columns against columns: is there an order of the predicted ones in which the rows are the gold's?"""
    if ordered:
        # Rows in place: each column must be one of the others, whole.
        return Counter(gold) == Counter(predicted)
    bags = [Counter(column) for column in gold]
    fits = [[j for j, column in enumerate(predicted) if Counter(column) == bag] for bag in bags]
    # The column with the fewest candidates first; after each choice the rows so far must agree, which ends hopeless orders early.
    turn = sorted(range(len(gold)), key=lambda i: len(fits[i]))

    def search(depth: int, used: tuple[int, ...]) -> bool:
        if depth == len(turn):
            return True
        tried: set[Row] = set()
        for j in fits[turn[depth]]:
            if j in used or predicted[j] in tried:
                continue
            tried.add(predicted[j])
            now = (*used, j)
            if Counter(zip(*(gold[i] for i in turn[: depth + 1]), strict=True)) == Counter(
                zip(*(predicted[k] for k in now), strict=True)
            ) and search(depth + 1, now):
                return True
        return False

    return search(0, ())


def _compare_on(
    database: Database, pair: Pair, cache: dict[str, Any], last_chance: bool = False
) -> tuple[bool, bool, bool]:
    """Matched, strictly matched, both empty, on one database. `Refused` for the prediction, `_GoldRefused` for the gold.

    `_Open` where the gold itself may answer one thing or another on this copy, but on the last chance, when no copy decides.
    """
    gold, predicted = mended(pair.gold), mended(pair.predicted)
    ordered = orders(gold)

    def expected(query: str) -> list[Row]:
        if query not in cache:
            try:
                cache[query] = database.rows(query)
            except Refused as e:
                raise _GoldRefused(str(e)) from None
        return cache[query]

    loose_gold, loose = without_distinct(gold), without_distinct(predicted)
    wanted = expected(loose_gold)
    found = database.rows(loose)
    if pair.database is None and ordered and wanted:
        one, other = (expected(with_ties_broken(loose_gold, len(wanted[0]), way)) for way in (False, True))
        if Counter(one) != Counter(other) and not last_chance:
            raise _Open
        # Rows that tie may come in any order.
        ordered = ordered and (last_chance or one == other)
    as_sets = pair.database is None and drops_duplicates(gold)
    matched = same_rows(
        *((list(dict.fromkeys(rows)) if as_sets else rows) for rows in (wanted, found)), ordered
    )
    strict = matched
    if matched:
        strict_wanted = wanted if loose_gold == gold else expected(gold)
        strict = same_rows(
            strict_wanted, found if loose == predicted else database.rows(predicted), ordered, permute=False
        )
    elif loose != predicted or loose_gold != gold:
        strict = same_rows(expected(gold), database.rows(predicted), ordered, permute=False)
    return matched, strict, not wanted and not found


class _GoldRefused(Exception):
    """The gold gave no rows."""


class _Open(Exception):
    """The gold itself may answer one thing or another on this copy: it proves nothing."""


class Judge:
    """Compares pairs in this process; keeps databases open, and the golds' rows."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[Database, dict[str, Any]]] = {}

    def _databases(self, pair: Pair) -> Iterator[tuple[Database, dict[str, Any]]]:
        if pair.database is not None:
            if pair.database not in self._files:
                self._files[pair.database] = (Database.open_file(Path(pair.database)), {})
            yield self._files[pair.database]
            return
        for copy in range(2 * COPIES):
            database = Database(build(pair.context, (mended(pair.gold), mended(pair.predicted)), copy))
            try:
                yield database, {}
            finally:
                database.close()

    def compare(self, pair: Pair) -> Match:
        """The verdict on one pair."""
        matched = strict = vacuous = True
        judged = 0
        try:
            for database, cache in self._databases(pair):
                try:
                    same, strictly, empty = _compare_on(database, pair, cache)
                except _Open:
                    continue
                judged += 1
                matched, strict, vacuous = matched and same, strict and strictly, vacuous and empty
                if judged == COPIES or (not matched and not strict):
                    break
            if not judged:
                for database, cache in self._databases(pair):
                    matched, strict, vacuous = _compare_on(database, pair, cache, last_chance=True)
                    break
        except _GoldRefused as e:
            return Match("gold_invalid", str(e))
        except Refused as e:
            return Match("invalid", str(e), trouble=e.trouble)
        except sqlite3.Error as e:
            return Match("gold_invalid", f"the database can't be had: {e}")
        except (MemoryError, RecursionError) as e:
            return Match("invalid", type(e).__name__, trouble="too_large")
        except Exception as e:
            # Whatever a prediction has brought about: it costs that question, and no other. A literal beyond SQLite's integers once ended a night's run.
            return Match("invalid", f"can't be judged: {type(e).__name__}: {e}", trouble="other")
        return (
            Match("match", strict=strict, vacuous=vacuous)
            if matched
            else Match("mismatch", "other rows", strict=strict)
        )


def _worker() -> None:
    """The guarded process: pairs from standard input, a verdict a line."""
    pairs = [Pair(**item) for item in json.load(sys.stdin)]
    confine()
    judge = Judge()
    for pair in pairs:
        print(json.dumps(asdict(judge.compare(pair))), flush=True)


def _verdicts(pairs: Sequence[Pair]) -> Iterator[Match]:
    """Verdicts from one guarded process, started again where it had to be killed or died."""
    left = list(pairs)
    while left:
        with tempfile.TemporaryFile("w+") as given:
            json.dump([asdict(p) for p in left], given)
            given.seek(0)
            env = {
                "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
                "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
                "PYTHONIOENCODING": "utf-8",
            }
            process = subprocess.Popen(
                [sys.executable, "-m", "sqltune.evaluation.execution_match"],
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=env,
            )
        try:
            done = 0
            for match in _heard(process, left):
                done += 1
                yield match
        finally:
            process.kill()
            words = process.communicate()[1].decode(errors="replace").strip()
        left = left[done:]
        if left:
            if done == 0 and "Traceback" in words:
                raise ScoringError(f"the process that runs the queries does not start: {words[-800:]}")
            # It was running this one when it was killed, or died of it.
            killed = process.returncode == -9
            yield Match(
                "invalid",
                f"took longer than {MAX_SECONDS:g} s and could not be interrupted"
                if killed
                else f"the process that ran it died ({process.returncode})",
                trouble="timeout" if killed else "too_large",
            )
            left = left[1:]


def _heard(process: subprocess.Popen[bytes], pairs: Sequence[Pair]) -> Iterator[Match]:
    """The verdicts of one process; ends when a pair takes longer than all its queries may."""
    assert process.stdout is not None
    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        for number, pair in enumerate(pairs):
            queries = 4 if pair.database else 4 * COPIES
            deadline = time.monotonic() + queries * MAX_SECONDS + GRACE + (30 if number == 0 else 0)
            while b"\n" not in buffer:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return
                part = os.read(process.stdout.fileno(), 1 << 16)
                if not part:
                    # It died by itself: its exit code is the reason, not our signal.
                    process.wait()
                    return
                buffer += part
            line, _, buffer = buffer.partition(b"\n")
            yield Match(**json.loads(line))


def match(pairs: Sequence[Pair], processes: int | None = None) -> list[Match]:
    """Verdicts in the order of the pairs, computed in guarded processes: as many as are worth it on this machine's cores, or `processes`."""
    if not pairs:
        return []
    count = processes or max(1, min(len(os.sched_getaffinity(0)), len(pairs) // ITEMS_A_PROCESS))
    size = -(-len(pairs) // count)
    with ThreadPoolExecutor(count) as pool:
        parts = pool.map(
            lambda part: list(_verdicts(part)), [pairs[i : i + size] for i in range(0, len(pairs), size)]
        )
    return [m for part in parts for m in part]


if __name__ == "__main__":
    _worker()
