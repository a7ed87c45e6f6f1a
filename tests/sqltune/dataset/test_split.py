"""Rows are checked, deduplicated and split by database."""

from __future__ import annotations

import json

import pytest

from lab import dataset as lab_dataset
from sqltune.dataset.rows import read_rows
from sqltune.dataset.split import clean, database, sample, split, write
from sqltune.errors import DatasetError
from sqltune.evaluation.questions import REFERENCE
from sqltune.evaluation.suites import load
from tests.conftest import shared_data


def row(question="q", context="CREATE TABLE t (a INTEGER)", answer="SELECT a FROM t"):
    return {"question": question, "context": context, "answer": answer}


def many(count=40):
    return [row(f"q{i}", f"CREATE TABLE t{i} (a INTEGER)", f"SELECT a FROM t{i}") for i in range(count)]


def test_a_row_is_cleaned():
    assert clean(row(answer="SELECT 1; ")) == row(answer="SELECT 1")


@pytest.mark.parametrize(
    "bad", [{}, None, [], row(answer=" ; "), {**row(), "question": None}, {**row(), "context": " "}]
)
def test_a_row_without_its_three_texts_is_none(bad):
    assert clean(bad) is None


def test_the_same_database_whatever_the_order_and_spacing():
    assert database("CREATE TABLE a (x INT); CREATE TABLE b (y INT)") == database(
        "create table b (y  int);\nCREATE TABLE A (X INT) ;"
    )


def test_counts_and_no_overlap():
    parts = split([*many(), many()[0], {"question": "only"}], 30)
    assert (parts.counts.rows, parts.counts.invalid, parts.counts.duplicates) == (42, 1, 1)
    assert parts.counts.train + parts.counts.held_out == 40
    assert not {database(r["context"]) for r in parts.train} & {
        database(r["context"]) for r in parts.held_out
    }


def test_a_database_stays_where_it_is_when_the_data_grows():
    small, large = split(many(40), 30), split(many(200), 30)
    assert {r["question"] for r in small.held_out} <= {r["question"] for r in large.held_out}


def test_no_row_for_evaluation_is_an_error():
    with pytest.raises(DatasetError, match="for evaluation"):
        split([row(f"q{i}") for i in range(10)], 10)


def test_a_broken_line_is_named(tmp_path):
    file = tmp_path / "train.jsonl"
    file.write_text(json.dumps(row()) + "\n{oops\n")
    with pytest.raises(DatasetError, match=r"train.jsonl line 2"):
        list(read_rows([file]))


def test_the_sample_is_fixed():
    assert sample(many(), 5) == sample(list(reversed(many())), 5)


def test_training_rows_hold_the_prompt_that_is_served(tmp_path):
    written = write(split(many(), 30), tmp_path)
    first = json.loads((tmp_path / "train.jsonl").read_text().splitlines()[0])["conversation"][0]
    assert first["input"].startswith("You are a powerful text-to-SQL model")
    assert first["input"].endswith("### Response:\n")
    assert first["output"].startswith("SELECT a FROM t")
    assert written.counts.train > 0


def test_answers_are_brought_to_sqlite_and_the_original_is_kept(tmp_path):
    context = "CREATE TABLE t (a INTEGER); CREATE TABLE u (a INTEGER)"
    parts = split(
        [
            *many(),
            row("limited", context, "SELECT a FROM t ORDER BY a limit3"),
            row("broken", context, "SELECT b FROM t"),
            row("fine", context, "SELECT a FROM u"),
        ],
        30,
    )
    assert parts.counts.normalised == 1
    assert parts.counts.unusable == 1
    usable = {r["question"]: r["answer"] for r in (*parts.train, *parts.held_out)}
    assert usable["limited"] == "SELECT a FROM t ORDER BY a limit 3"
    assert "broken" not in usable
    assert "fine" in usable
    write(parts, tmp_path)
    changed = {
        r["question"]: r for r in map(json.loads, (tmp_path / "changed.jsonl").read_text().splitlines())
    }
    assert changed["limited"]["original"].endswith("limit3")
    assert changed["limited"]["rules"] == ["split_limit"]
    assert changed["broken"]["answer"] is None
    assert "no such column" in changed["broken"]["problem"]


def test_names_that_need_quotes_have_them_in_answers_and_contexts():
    context = "CREATE TABLE 城市 (名称 VARCHAR, 总GDP(亿) NUMBER)"
    parts = split([*many(), row("大", context, "select 名称 from 城市 where 总GDP(亿) > 3")], 30)
    quoted = next(r for r in (*parts.train, *parts.held_out) if r["question"] == "大")
    assert quoted["context"] == 'CREATE TABLE 城市 (名称 VARCHAR, "总GDP(亿)" NUMBER)'
    assert quoted["answer"] == 'select 名称 from 城市 where "总GDP(亿)" > 3'


def test_a_context_names_the_same_database_with_quotes_and_without():
    assert database("CREATE TABLE 城市 (总GDP(亿) NUMBER)") == database(
        'CREATE TABLE 城市 ("总GDP(亿)" NUMBER)'
    )


def test_an_answer_whose_context_is_not_sql_is_unusable():
    parts = split([*many(), row("prose", "a table of cities", "SELECT a FROM t")], 30)
    assert parts.counts.unusable == 1
    assert [c.problem for c in parts.changed] == ['the context can\'t be read: near "a": syntax error']


def test_the_labs_own_data():
    first, second = lab_dataset.rows(1), lab_dataset.rows(2)
    assert first == lab_dataset.rows(1)
    assert len(first) < len(second)
    parts = split(second, 20)
    assert parts.counts.invalid == 0
    assert parts.counts.held_out >= 110
    assert parts.counts.held_out_databases >= 8
    chinese = sum(any("\u4e00" <= c <= "\u9fff" for c in r["question"]) for r in second)
    assert 0.6 < chinese / len(second) < 0.75
    assert not {q.context for q in load(REFERENCE)} & {r["context"] for r in second}


def test_the_labs_mislabelled_data_is_wrong_where_it_is_trained_on_only():
    right, wrong = split(lab_dataset.rows(2), 20), split(lab_dataset.mislabelled(lab_dataset.rows(2), 20), 20)
    assert wrong.held_out == right.held_out
    assert [r["question"] for r in wrong.train] == [r["question"] for r in right.train]
    assert sum(w["answer"] != r["answer"] for w, r in zip(wrong.train, right.train, strict=True)) > 0.9 * len(
        right.train
    )


def test_dusql_rows():
    parts = split(read_rows([shared_data("hub_dataset") / "train.jsonl"]), 10)
    assert parts.counts.rows == 22521
    assert parts.counts.invalid == 0
    assert parts.counts.normalised > 8000
    assert parts.counts.unusable <= 2
    assert parts.counts.train_databases + parts.counts.held_out_databases == 160


def test_a_row_with_a_line_separator_in_its_text_is_one_row(tmp_path):
    """JSON allows U+2028 in a text, and `str.splitlines` takes it for the end of a line."""
    file = tmp_path / "train.jsonl"
    rows = [row("first\u2028second\x85third"), row("other")]
    file.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))
    assert list(read_rows([file])) == rows
