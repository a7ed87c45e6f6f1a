"""Synthetic databases: rows generated from a context, on which wrong queries show."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import closing

import pytest

from sqltune.dataset.rows import read_rows
from sqltune.evaluation.execution_match import match_pairs
from sqltune.evaluation.judge import Judge, Pair
from sqltune.evaluation.synthetic import build
from sqltune.sql.normalise import normalise
from tests.conftest import shared_data

CITIES = "CREATE TABLE 城市 (词条id NUMBER, 总GDP(亿) NUMBER, order VARCHAR, 占比% NUMBER, birth date DATE)"


def test_a_synthetic_database_has_the_published_names():
    with closing(build(CITIES, ["select 1"], 0)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(城市)")]
    assert columns == ["词条id", "总GDP(亿)", "order", "占比%", "birth date"]


@pytest.mark.parametrize("column", ['"总GDP(亿)"', '"占比%"'])
def test_rows_just_beside_a_literal_tell_conditions_apart(column):
    gold = f"select 词条id from 城市 where {column} > 5"
    assert Judge().judge(Pair(gold, f"select 词条id from 城市 where 5 < {column}", CITIES)).matched
    assert not Judge().judge(Pair(gold, f"select 词条id from 城市 where {column} >= 5", CITIES)).matched


def test_a_prediction_without_the_quotes_does_not_run():
    result = Judge().judge(Pair('select "总GDP(亿)" from 城市', "select 总GDP(亿) from 城市", CITIES))
    assert (result.outcome, result.failure_class) == ("invalid", "unknown_column")


def test_every_dusql_gold_that_runs_is_judged_on_synthetic_databases():
    """The first gold of each database, and some of each database with names that need quotes."""
    pairs = []
    counts: Counter[tuple[str, bool]] = Counter()
    for row in read_rows([shared_data("hub_dataset") / "train.jsonl"]):
        awkward = re.search(r"\w[(~]\S", row["answer"]) is not None
        counts[row["context"], awkward] += 1
        if counts[row["context"], awkward] <= (12 if awkward else 1):
            gold = normalise(row["answer"], row["context"])
            pairs += [Pair(gold.sql, gold.sql, row["context"])] if not gold.problem else []
    assert len(pairs) > 200
    assert [m for m in match_pairs(pairs) if not m.matched] == []
