"""Answers to scores, scores to a verdict."""

from __future__ import annotations

import pytest

from sqltune.gate import decide
from sqltune.scoring import Question, extract_sql, language, reference_questions, score, suite, table

ROWS = [{"question": f"第{i}个问题" if i % 2 else f"question {i}", "context": "CREATE TABLE t (a INTEGER, b VARCHAR)", "answer": f"SELECT b FROM t WHERE a > {i}"} for i in range(10)]
RIGHT = {q.id: q.gold for q in suite(ROWS)}


def scored(wrong: set[str] = frozenset(), name: str = "m"):
    return score(name, suite(ROWS), {i: "SELECT 1" if i in wrong else a for i, a in RIGHT.items()})


@pytest.mark.parametrize(("answer", "sql"), [
    ("SELECT 1;", "SELECT 1"), ("```sql\nSELECT 1;\n```\nthat is it", "SELECT 1"), ("SELECT 'a;b' FROM t; more", "SELECT 'a;b' FROM t"),
    ("  SELECT 1  ", "SELECT 1"), ("", ""), ("```\nSELECT 2", "SELECT 2"),
])
def test_the_query_in_an_answer(answer, sql):
    assert extract_sql(answer) == sql


def test_the_reference_prompts_are_in_every_suite():
    ids = [q.id for q in reference_questions()]
    assert len(ids) == 3 and [q.id for q in suite(ROWS)][:3] == ids and all(q.must_not_break for q in reference_questions())


def test_score():
    found = scored({"q0001", "q0002", "ref-zh-group"})
    assert (found.matched, found.questions, found.invalid) == (8, 10, 0)
    assert found.by_language == {"en": (4, 5), "zh": (4, 5)}
    assert found.reference == {"ref-en-where": True, "ref-zh-group": False, "ref-zh-count": True}


def test_a_missing_answer_is_wrong():
    assert score("m", suite(ROWS), {}).matched == 0


def test_a_gold_that_does_not_run_is_not_counted():
    broken = Question(id="x", question="q", context="CREATE TABLE t (a INTEGER)", gold="SELECT oops FROM t")
    assert score("m", [broken], {"x": "SELECT 1"}).questions == 0


def test_better_is_let_through_worse_is_held_back():
    good, bad = scored(), scored({"q0001"})
    assert decide(bad, good).passed and decide(good, good).passed
    held = decide(good, bad)
    assert not held.passed and held.lost == ["q0001"] and not held.rules[0].passed and held.rules[1].passed


def test_a_broken_reference_prompt_holds_back_a_better_model():
    before, after = scored({"q0001", "q0002"}), scored({"ref-zh-count"})
    verdict = decide(before, after)
    assert not verdict.passed and "ref-zh-count" in verdict.rules[1].found


def test_scores_of_other_questions_are_not_compared():
    with pytest.raises(ValueError, match="not the same"):
        decide(scored(), score("m", suite(ROWS[:5]), RIGHT))


def test_the_table_is_what_a_person_reads():
    text = table(scored({"q0001", "ref-zh-group"}, "base"), scored(name="candidate"))
    assert text.splitlines()[2].split() == ["execution", "match", "9/10", "(90%)", "10/10", "(100%)"]
    assert next(line for line in text.splitlines() if line.startswith("ref-zh-group")).split() == ["ref-zh-group", "wrong", "right"]


def test_language():
    assert language("大多数部门在哪一年成立?") == "zh" and language("How many?") == "en"
