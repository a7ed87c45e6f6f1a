"""Which columns refer to which."""

from __future__ import annotations

import pytest

from sqltune.evaluation.references import references
from sqltune.sql.schema import parse_context

DECLARED = "CREATE TABLE a (id INTEGER PRIMARY KEY, x); CREATE TABLE b (a_id REFERENCES a (id), c_id, y)"
PLAIN = "CREATE TABLE a (id INTEGER, x TEXT); CREATE TABLE b (a_id INTEGER, c_id INTEGER, y TEXT)"
ONE = "SELECT x FROM a"
JOIN = "SELECT x FROM a JOIN b ON a.id = b.a_id"


@pytest.mark.parametrize(
    ("context", "gold", "predicted", "expected"),
    [
        (DECLARED, ONE, ONE, [(("b", "a_id"), ("a", "id"))]),
        (PLAIN, ONE, ONE, []),
        (PLAIN, JOIN, ONE, [(("b", "a_id"), ("a", "id"))]),
        (PLAIN, ONE, JOIN, [(("b", "a_id"), ("a", "id"))]),
        (PLAIN, "SELECT x FROM a JOIN b ON a.x = b.y", ONE, []),
        ("", JOIN, ONE, []),
    ],
)
def test_references(context, gold, predicted, expected):
    assert references(*parse_context(context), gold, predicted) == expected


def test_a_prediction_adds_no_reference_to_a_column_that_has_one():
    context = f"{PLAIN}; CREATE TABLE c (id INTEGER)"
    predicted = "SELECT x FROM c JOIN b ON c.id = b.a_id"
    assert references(*parse_context(context), JOIN, predicted) == [(("b", "a_id"), ("a", "id"))]
