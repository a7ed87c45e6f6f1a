"""What ranks report of themselves."""

from __future__ import annotations

import pytest

from ssh_gang.ranks import RankReport, parse


def test_reports_are_parsed_a_line_each():
    text = "0 step=12 at=100.5 seconds=3.25 data_seconds=0.01 memory=10240\n1 step=11 at=99"
    assert parse(text) == [
        RankReport(rank=0, step=12, at=100.5, seconds=3.25, data_seconds=0.01, memory=10240),
        RankReport(rank=1, step=11, at=99),
    ]


def test_fields_of_other_names_are_ignored():
    assert parse("0 step=12 at=1 rank=7 loss=0.5") == [RankReport(rank=0, step=12, at=1)]


@pytest.mark.parametrize(
    "line", ["", "0", "0 step=12", "x step=1 at=1", "0 step=many at=1", "0 step=-1 at=1"]
)
def test_what_is_no_report_is_left_out(line):
    assert parse(f"{line}\n1 step=1 at=1") == [RankReport(rank=1, step=1, at=1)]
