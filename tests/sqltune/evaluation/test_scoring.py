"""Answers to scores, and the command that does it for files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sqltune.errors import ConfigError, ScoringError
from sqltune.evaluation.questions import Question, language, question_from_row
from sqltune.evaluation.report import Column, comparison_table
from sqltune.evaluation.score import Tally
from sqltune.evaluation.scorer import extract_sql, score_answers
from sqltune.evaluation.suites import assemble, held_out, load, names
from tests.conftest import ROOT, shared_data

ROWS = [
    {
        "question": f"第{i}个问题" if i % 2 else f"question {i}",
        "context": "CREATE TABLE t (a INTEGER, b VARCHAR)",
        "answer": f"SELECT b FROM t WHERE a > {i}",
    }
    for i in range(10)
]
SUITE = assemble(ROWS)
IDS = [q.id for q in held_out(ROWS)]
RIGHT = {q.id: q.gold for q in SUITE}


def scored(wrong: set[str] = frozenset(), name: str = "m"):
    return score_answers(name, SUITE, {i: "SELECT 1" if i in wrong else a for i, a in RIGHT.items()})


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sqltune.evaluation.scoring", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "plugins")},
        timeout=120,
    )


@pytest.mark.parametrize(
    ("answer", "sql"),
    [
        ("SELECT 1;", "SELECT 1"),
        ("```sql\nSELECT 1;\n```\nthat is it", "SELECT 1"),
        ("SELECT 'a;b' FROM t; more", "SELECT 'a;b' FROM t"),
        ("  SELECT 1  ", "SELECT 1"),
        ("", ""),
        ("```\nSELECT 2", "SELECT 2"),
    ],
)
def test_the_query_in_an_answer(answer, sql):
    assert extract_sql(answer) == sql


def test_score():
    found = scored({IDS[1], IDS[2], "ref-zh-group"})
    assert (found.matched, found.strict, found.exact, found.questions, found.invalid) == (8, 8, 8, 10, 0)
    assert (
        found.by_language == {"zh": Tally(matched=4, evaluated=5), "en": Tally(matched=4, evaluated=5)}
        and found.by_hardness == {"easy": Tally(matched=8, evaluated=10)}
        and found.by_clause == {"where": Tally(matched=8, evaluated=10)}
    )
    assert found.reference_prompts == {"ref-en-where": True, "ref-zh-group": False, "ref-zh-count": True}
    assert [s.id for s in found.counted_answers] == IDS


def test_what_is_wrong_has_a_class():
    answers = {
        q.id: a
        for q, a in zip(
            SUITE[3:],
            [
                "SELECT c FROM t",
                "SELECT b FROM u",
                "SELEKT",
                "DROP TABLE t",
                "",
                *[q.gold.lower() for q in SUITE[8:]],
            ],
            strict=True,
        )
    }
    found = score_answers("m", SUITE, answers)
    assert (
        found.invalid_by_class == {"syntax": 2, "unknown_table": 1, "unknown_column": 1, "not_a_select": 1}
        and found.invalid == 5
    )
    assert (found.matched, found.strict, found.exact) == (5, 5, 5)


def test_other_columns_first_are_right_and_not_strict():
    both = Question(id="x", question="q", context=SUITE[3].context, gold="SELECT a, b FROM t")
    found = score_answers("m", [both], {"x": "SELECT b, a FROM t"})
    assert (found.matched, found.strict, found.exact) == (1, 0, 0)


def test_a_missing_answer_is_wrong():
    assert score_answers("m", SUITE, {}).matched == 0


def test_a_gold_that_does_not_run_is_not_counted_and_said():
    found = score_answers(
        "m",
        [Question(id="x", question="q", context="CREATE TABLE t (a INTEGER)", gold="SELECT oops FROM t")],
        {"x": "SELECT 1"},
    )
    assert (found.questions, found.not_judged) == (0, 1)


def test_an_id_that_stands_twice_is_refused():
    with pytest.raises(ScoringError, match="occurs more than once"):
        score_answers("m", [*SUITE, SUITE[-1]], {})


def test_the_table_is_what_a_person_reads():
    text = comparison_table(scored({IDS[1], "ref-zh-group"}, "base"), scored(name="candidate"))
    assert text.splitlines()[2].split() == ["execution", "match", "9/10", "(90%)", "10/10", "(100%)"]
    assert next(line for line in text.splitlines() if line.startswith("ref-zh-group")).split() == [
        "ref-zh-group",
        "wrong",
        "right",
    ]


def test_a_reference_that_was_not_asked_has_no_numbers():
    lines = comparison_table(
        scored(), scored(), Column("glm-4 (no key)", score_answers("glm-4", [], {}))
    ).splitlines()
    assert (
        lines[0].endswith("glm-4 (no key)")
        and lines[2].split()[-1] == "–"
        and lines[-1].split() == ["ref-zh-count", "right", "right", "–"]
    )


def test_language():
    assert language("大多数部门在哪一年成立?") == "zh" and language("How many?") == "en"


def test_the_reference_prompts_are_in_every_suite_and_an_id_stays_with_its_row():
    assert (
        len(load("reference")) == 3
        and SUITE[:3] == load("reference")
        and all(q.must_not_break for q in SUITE[:3])
    )
    assert {q.id for q in held_out(ROWS[5:])} < {q.id for q in held_out(ROWS)}


def test_a_benchmark_with_its_databases_is_a_suite(monkeypatch):
    data = shared_data("spider_dev")
    monkeypatch.setenv("SQLTUNE_SUITES", str(data.parent))
    assert {"spider_dev", "dusql_dev"} <= set(names())
    spider, dusql = (load(name, 20) for name in ("spider_dev", "dusql_dev"))
    assert (
        spider == load("spider_dev", 20)
        and len({q.id for q in spider}) == 20
        and all("CREATE TABLE" in q.context and Path(q.database).is_file() for q in spider)
    )
    for suite in (spider, dusql):
        assert score_answers("gold", suite, {q.id: q.gold for q in suite}).matched == 20


def test_a_suite_with_mistakes_names_them_all(monkeypatch, tmp_path):
    (tmp_path / "regression").mkdir()
    row = {"id": "a", "question": "q", "context": "CREATE TABLE t (a INTEGER)", "gold": "SELECT a FROM t"}
    (tmp_path / "regression" / "mine.jsonl").write_text(
        "\n".join(
            json.dumps(r)
            for r in (
                row,
                row,
                row | {"id": "b", "gold": ""},
                row | {"id": "c", "database": "no.sqlite"},
                {"id": "d"},
            )
        )
    )
    monkeypatch.setattr("sqltune.config.paths.CONFIGS", tmp_path)
    with pytest.raises(ConfigError) as e:
        load("mine")
    for words in (
        "line 2: id 'a' is used before",
        "line 3.gold",
        "line 4: database 'no.sqlite' is not in",
        "line 5.question: is missing",
    ):
        assert words in str(e.value)
    with pytest.raises(ConfigError, match=r"suites: 'other' is not there \(there are: mine\)"):
        load("other")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("x", "not an object"),
        ({"answer": None, "context": "c"}, "no query under"),
        ({"query": "SELECT 1"}, "no 'context'"),
    ],
)
def test_a_row_that_is_no_question(row, words):
    with pytest.raises(ScoringError, match=words):
        question_from_row(row, "1", None)


def test_the_command_on_contexts(tmp_path):
    gold = tmp_path / "gold.jsonl"
    gold.write_text("\n".join(json.dumps(r | {"answer_sqlite": None}) for r in ROWS))
    predictions = tmp_path / "predictions.json"
    predictions.write_text(
        json.dumps(
            [{"result": r["answer"].removeprefix("SELECT ")} for r in ROWS[:8]]
            + ["SELECT x FROM t", "SELECT 1"]
        )
    )
    done = command(gold, predictions, "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0 and (
        found["questions"],
        found["matched"],
        found["strict"],
        found["invalid_by_class"],
    ) == (10, 8, 8, {"unknown_column": 1})
    people = command(gold, predictions).stdout
    assert (
        "total         10\n" in people
        and "matched       8 (80.00 %)" in people
        and "unknown column      1" in people
    )


@pytest.mark.parametrize(
    ("predictions", "more", "words"),
    [
        ("SELECT 1", [], "10 rows and"),
        ("[1]", [], "is not a query"),
        ("[{]", [], "can't be read"),
        ("SELECT 1\n" * 10, ["--databases", "/nowhere"], "--databases: /nowhere is not a folder"),
        ("SELECT 1\n" * 10, ["--databases", "."], "no database ''"),
    ],
)
def test_the_command_refuses_what_does_not_fit(tmp_path, predictions, more, words):
    (tmp_path / "gold.json").write_text(json.dumps(ROWS))
    (tmp_path / "p").write_text(predictions)
    done = command(tmp_path / "gold.json", tmp_path / "p", *more)
    assert done.returncode == 2 and words in done.stderr and not done.stdout


def test_the_command_calibrated_on_spider():
    data = shared_data("spider_dev")
    for file, share in (("chatgpt-2303-spider.json", 69.9), ("codes-1b-spider-dev.txt", 78.7)):
        found = json.loads(
            command(
                data / "dev.json", data / "predictions" / file, "--databases", data / "sqlite", "--json"
            ).stdout
        )
        assert found["questions"] == 1034 and 100 * found["matched"] / 1034 == pytest.approx(share, abs=0.3)
        assert (
            sum(tally["evaluated"] for tally in found["by_hardness"].values()) == 1034
            and found["exact"] <= found["matched"]
        )
