"""Names of databases, as people know them."""

from __future__ import annotations

import pytest

from sqltune.ui.database_names import database_name


def test_a_file_gives_its_name_without_its_folder():
    assert (
        database_name("/data/dev/concert_singer.sqlite", "CREATE TABLE singer (name TEXT)")
        == "concert_singer"
    )


@pytest.mark.parametrize(
    ("context", "name"),
    [
        ("CREATE TABLE head (age INT)", "head"),
        ("create table a(x INT); CREATE TABLE b (y INT)", "a, b"),
        ('CREATE TABLE "two words" (x INT); CREATE TABLE `tick` (x INT); CREATE TABLE [br] (x INT)',
         "two words, tick, br"),
        ("CREATE TABLE IF NOT EXISTS 明星 (姓名 VARCHAR)", "明星"),
        ("no schema", ""),
    ],
)  # fmt: skip
def test_without_a_file_the_tables_are_the_name(context, name):
    assert database_name(None, context) == name
