"""Why an answer was judged as it was, in plain sentences."""

from __future__ import annotations

import pytest

from sqltune.evaluation.judge import Match
from sqltune.evaluation.why import why
from sqltune.evaluation.witness import Witness, WitnessResult, WitnessTable

MISMATCH = Match("mismatch", "other rows")


def result(rows: list[tuple[object, ...]], different: tuple[int, ...] = (0,), columns: int = 1):
    return WitnessResult(columns=("c",) * columns, rows=rows, row_count=len(rows), different=different)


def witness(difference: str, gold: WitnessResult, answer: WitnessResult, **fields: object) -> Witness:
    table = WitnessTable(
        name="t", columns=("a",), read=("a",), create="CREATE TABLE t (a)", rows=((1,),), row_count=11
    )
    values = {
        "source": "real",
        "tables": (table,),
        "gold": gold,
        "answer": answer,
        "difference": difference,
        "distinct_dropped": False,
        "tied": False,
        "small": True,
        "minimal": True,
        "comparisons": 1,
    }
    return Witness.model_validate(values | fields)


@pytest.mark.parametrize(
    ("difference", "gold", "answer", "sentence"),
    [
        ("missing", result([(1,)]), result([]), "Here the gold query returns 1 row, the answer none."),
        ("extra", result([]), result([(1,)]), "Here the gold query returns no rows, the answer 1."),
        (
            "missing",
            result([(1,), (2,)]),
            result([(1,)]),
            "Here the gold query returns 2 rows, the answer only 1.",
        ),
        ("extra", result([(1,)]), result([(1,), (2,)]), "Here the gold query returns 1 row, the answer 2."),
        (
            "columns",
            result([(1,)]),
            result([(1, 2)], columns=2),
            "Here the gold query returns 1 column, the answer 2.",
        ),
        (
            "repeated",
            result([(1,)]),
            result([(1,), (1,)]),
            "Here the gold query returns 1 row, the answer 2: the same, but not equally often.",
        ),
        ("values", result([(3,)]), result([(None,)]), "Here the gold query returns 3, the answer NULL."),
        ("values", result([("x",)]), result([(2,)]), "Here the gold query returns 'x', the answer 2."),
        (
            "values",
            result([(1, 2)], columns=2),
            result([(1, 3)], columns=2),
            "Here both return 1 row, but with other values.",
        ),
        (
            "values",
            result([(1,), (2,), (3,)], (0, 1)),
            result([(3,), (4,)], (1,)),
            "Here the gold query returns 3 rows, the answer 2; 1 of them in common.",
        ),
        (
            "order",
            result([(1,), (2,)]),
            result([(2,), (1,)]),
            "Here both return the same rows in another order, and the gold query orders them.",
        ),
        (
            "types",
            result([("6",)]),
            result([(6,)]),
            "Here the values look alike, but what is text in one result is a number in the other.",
        ),
    ],
)
def test_difference_in_one_sentence(difference, gold, answer, sentence):
    assert why(MISMATCH, witness(difference, gold, answer)) == sentence


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"tied": True}, "Rows tie under the gold query's ORDER BY"),
        ({"small": False}, "No smaller database was found: t has 11 rows."),
        ({"small": False, "minimal": False}, "The search ended at its limit."),
        ({"distinct_dropped": True}, "The comparison leaves DISTINCT out."),
    ],
)
def test_further_sentences(fields, sentence):
    shown = why(MISMATCH, witness("repeated", result([(1,)]), result([(1,), (1,)]), **fields))
    assert sentence in shown


def test_distinct_is_not_mentioned_where_no_row_is_repeated():
    shown = why(MISMATCH, witness("missing", result([(1,)]), result([]), distinct_dropped=True))
    assert "DISTINCT" not in shown


@pytest.mark.parametrize(
    ("match", "sentence"),
    [
        (Match("match"), "The answer returns the gold query's rows."),
        (
            Match("match", vacuous=True),
            "The answer returns the gold query's rows. Both results are empty, which proves little.",
        ),
        (Match("invalid", "no such column: x"), "The answer does not run: no such column: x."),
        (
            Match("gold_invalid", "no such table: t"),
            "The gold query does not run, so the answer is not judged: no such table: t.",
        ),
        (MISMATCH, "The answer returns other rows, but no small database was found that shows it."),
    ],
)
def test_outcome_without_a_witness(match, sentence):
    assert why(match, None) == sentence
