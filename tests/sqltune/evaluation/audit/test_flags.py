"""Flags: counted and merged."""

from __future__ import annotations

from sqltune.evaluation.audit.flags import Flag, count_by_reason, merged

DATE = Flag(reason="unquoted_date", detail="2010-01-01 is the number 2008")
TIE = Flag(reason="tie_at_limit", detail="rows tie")


def test_questions_are_counted_by_reason_in_the_order_of_the_rules():
    assert count_by_reason({"a": (DATE, TIE), "b": (DATE, DATE)}) == {"tie_at_limit": 1, "unquoted_date": 2}


def test_merged_flags_are_each_there_once():
    assert merged({"a": (DATE,)}, {"a": (DATE, TIE), "b": (TIE,)}) == {"a": (DATE, TIE), "b": (TIE,)}
