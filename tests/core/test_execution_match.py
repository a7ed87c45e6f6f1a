"""Execution match by the official semantics: calibrated on real predictions, on databases made from the context, and against hostile SQL."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from sqltune.execution_match import Judge, Pair, match, same_rows
from tests.conftest import shared_data

T = "CREATE TABLE t (id INTEGER, name VARCHAR, age INTEGER)"


def predictions(file: Path) -> list[str]:
    """A line each; or ChatGPT's list, whose results lack the leading SELECT."""
    if file.suffix == ".txt":
        return file.read_text().splitlines()
    return [r["result"] if r["result"].lower().lstrip().startswith("select") else f"SELECT {r['result']}" for r in json.loads(file.read_text())]


@pytest.mark.parametrize(("file", "share", "strict"), [("chatgpt-2303-spider.json", 69.9, None), ("codes-1b-spider-dev.txt", 78.7, 75.1)])
def test_calibrated_on_spider(file, share, strict):
    data = shared_data("spider_dev")
    questions = json.loads((data / "dev.json").read_text())
    found = match([Pair(q["query"], p, database=str(data / "sqlite" / f"{q['db_id']}.sqlite")) for q, p in zip(questions, predictions(data / "predictions" / file), strict=True)])
    assert 100 * sum(m.matched for m in found) / len(found) == pytest.approx(share, abs=0.3)
    assert strict is None or 100 * sum(m.strict for m in found) / len(found) == pytest.approx(strict, abs=0.3)
    assert not any(m.verdict == "gold_invalid" for m in found)


@pytest.mark.parametrize(("gold", "predicted", "ordered", "same"), [
    ([(1, "a"), (2, "b")], [("b", 2), ("a", 1)], False, True), ([(1, 2), (2, 1)], [(1, 1), (2, 2)], False, False), ([(1,), (1,)], [(1,)], False, False),
    ([(1, "a"), (2, "b")], [("b", 2), ("a", 1)], True, False), ([(1, "a"), (2, "b")], [("a", 1), ("b", 2)], True, True), ([], [], False, True),
    ([(0.1 + 0.2,)], [(0.3,)], False, True), ([(1, 1, 2)], [(1, 2, 1)], False, True), ([(1, 1)], [(1, 2)], False, False),
])
def test_same_rows(gold, predicted, ordered, same):
    assert same_rows(gold, predicted, ordered) is same


@pytest.mark.parametrize(("gold", "predicted", "matched"), [
    ("SELECT name FROM t WHERE age > 56", "SELECT name FROM t WHERE age >= 56", False), ("SELECT name FROM t WHERE age > 56", "SELECT x.name FROM t AS x WHERE 56 < age", True),
    ("SELECT min(age) FROM t", "SELECT max(age) FROM t", False), ("SELECT name FROM t ORDER BY age DESC LIMIT 1", "SELECT name FROM t ORDER BY age LIMIT 1", False),
    ("SELECT count(*) FROM t WHERE name = 'a'", "SELECT count(*) FROM t WHERE name = 'b'", False),
    # The gold's order leaves the row open on every copy: that is no reason to let anything pass.
    ("SELECT name FROM t ORDER BY 1 + 1 LIMIT 1", "SELECT 'none of them'", False), ("SELECT name FROM t ORDER BY 1 + 1 LIMIT 1", "SELECT name FROM t ORDER BY 1 + 1 LIMIT 1", True),
])
def test_on_databases_made_from_the_context(gold, predicted, matched):
    assert Judge().compare(Pair(gold, predicted, context=T)).matched is matched


@pytest.mark.parametrize(("hostile", "trouble"), [
    ("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c", {"timeout"}), ("ATTACH DATABASE 'pwned.db' AS x", {"not_a_select"}),
    ("SELECT 1; DROP TABLE t", {"several_statements"}), ("SELECT 1 /* */; -- x\n DROP TABLE t", {"several_statements"}), ("PRAGMA writable_schema = 1", {"not_a_select"}), ("SELECT load_extension('x')", {"forbidden"}),
    ("SELECT writefile('pwned', 'x')", {"forbidden", "other"}), ("SELECT randomblob(1000000000)", {"forbidden"}), ("SELECT hex(printf('%.*c', 900000000, 'x'))", {"too_large", "timeout"}), ("", {"syntax"}),
    ("SELECT " + "(" * 5000 + "1" + ")" * 5000, {"too_large", "syntax"}), ("SELECT * FROM nowhere", {"unknown_table"}), ("SELECT weight FROM t", {"unknown_column"}), ("WITH x AS (SELECT 1) DELETE FROM t", {"not_a_select"}),
    ("SELECT * FROM t a, t b, t c, t d, t e, t f", {"too_large", "timeout"}), ("SELECT\x00 1", {"syntax"}), ("x" * 200_000, {"too_large"}), ("SELECT '\ud800'", {"syntax"}), ("VACUUM INTO 'pwned'", {"not_a_select", "syntax"}),
])
def test_hostile(hostile, trouble, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, after = match([Pair("SELECT name FROM t", hostile, context=T), Pair("SELECT name FROM t", "SELECT name FROM t", context=T)])
    assert first.verdict == "invalid" and first.trouble in trouble, first
    assert after.matched and not list(tmp_path.iterdir())


def test_a_process_that_dies_is_one_predictions_fault(monkeypatch):
    monkeypatch.setattr("sqltune.execution_match.GRACE", -1e6)
    pair = Pair("SELECT name FROM t", "SELECT name FROM t", context=T)
    # Every pair is out of time before it is heard: each is told, none hangs.
    assert [m.trouble for m in match([pair, pair], processes=1)] == ["timeout", "timeout"]
    assert "execution_match" not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout.replace("test_execution_match", "")
