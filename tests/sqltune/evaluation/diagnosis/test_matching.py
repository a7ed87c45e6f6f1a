"""Pairing of the values of two queries."""

from __future__ import annotations

from sqltune.evaluation.diagnosis.matching import match


def test_the_closest_test_pairs_first():
    def equal(a: str, b: str) -> bool:
        return a == b

    def same_letter(a: str, b: str) -> bool:
        return a[0] == b[0]

    matched = match(["a1", "a2", "b1"], ["a3", "a1", "c1"], (equal, same_letter))
    assert matched.pairs == [("a1", "a1"), ("a2", "a3")]
    assert matched.missing == ["b1"]
    assert matched.extra == ["c1"]
