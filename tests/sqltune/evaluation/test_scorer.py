"""From answers to a score."""

from __future__ import annotations

import pytest

from sqltune.errors import ScoringError
from sqltune.evaluation.questions import Question
from sqltune.evaluation.score import Score, Tally
from sqltune.evaluation.scorer import extract_sql, score_answers
from sqltune.evaluation.suites import assemble, held_out
from tests.sqltune.evaluation.builders import CONTEXT, dataset_rows

ROWS = dataset_rows(10)
SUITE = assemble(held_out(ROWS))
IDS = [q.id for q in held_out(ROWS)]
GOLDS = {q.id: q.gold for q in SUITE}


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
def test_extract_sql(answer, sql):
    assert extract_sql(answer) == sql


@pytest.fixture(scope="module")
def mostly_right() -> Score:
    """Two held-out questions and a reference prompt answered wrong."""
    return score_answers("m", SUITE, GOLDS | dict.fromkeys((IDS[1], IDS[2], "ref-zh-group"), "SELECT 1"))


def test_score_counts_held_out_questions_and_no_reference_prompts(mostly_right):
    assert [answer.id for answer in mostly_right.counted_answers] == IDS
    assert mostly_right.questions == 10
    assert mostly_right.matched == 8
    assert mostly_right.strict == 8
    assert mostly_right.exact == 8
    assert mostly_right.invalid == 0


def test_score_by_language_hardness_and_clause(mostly_right):
    half = Tally(matched=4, evaluated=5)
    assert mostly_right.by_language == {"zh": half, "en": half}
    assert mostly_right.by_hardness == {"easy": Tally(matched=8, evaluated=10)}
    assert mostly_right.by_clause == {"where": Tally(matched=8, evaluated=10)}


def test_score_tells_each_reference_prompt(mostly_right):
    assert mostly_right.reference_prompts == {
        "ref-en-where": True,
        "ref-zh-group": False,
        "ref-zh-count": True,
    }


def test_score_keeps_question_answer_and_both_queries():
    answer = "```sql\nSELECT 1;\n```"
    (judged, *_) = score_answers("m", SUITE[3:4], {IDS[0]: answer}).answers
    assert judged.question == ROWS[0]["question"]
    assert judged.expected_sql == ROWS[0]["answer"]
    assert judged.answer == answer
    assert judged.sql == "SELECT 1"
    assert judged.reason == "other rows"


@pytest.fixture(scope="module")
def invalid() -> Score:
    """The first five held-out questions answered with what does not run; the others right."""
    broken = ["SELECT c FROM t", "SELECT b FROM u", "SELEKT", "DROP TABLE t", ""]
    queries = [*broken, *(q.gold.lower() for q in SUITE[8:])]
    return score_answers("m", SUITE, dict(zip(IDS, queries, strict=True)))


def test_invalid_answers_have_a_failure_class(invalid):
    assert invalid.invalid == 5
    assert invalid.invalid_by_class == {
        "syntax": 2,
        "unknown_table": 1,
        "unknown_column": 1,
        "not_a_select": 1,
    }


def test_same_query_in_another_spelling_is_exact(invalid):
    assert (invalid.matched, invalid.strict, invalid.exact) == (5, 5, 5)


def test_columns_in_another_order_match_and_are_not_strict():
    both = Question(id="x", question="q", context=CONTEXT, gold="SELECT a, b FROM t")
    score = score_answers("m", [both], {"x": "SELECT b, a FROM t"})
    assert (score.matched, score.strict, score.exact) == (1, 0, 0)


def test_match_of_two_empty_results_is_vacuous():
    empty = Question(id="x", question="q", context=CONTEXT, gold="SELECT b FROM t WHERE a > 1 AND 1 = 0")
    score = score_answers("m", [empty], {"x": empty.gold})
    assert (score.matched, score.vacuous) == (1, 1)


def test_missing_answer_is_wrong():
    assert score_answers("m", SUITE, {}).matched == 0


def test_question_whose_gold_query_does_not_run_is_left_out():
    question = Question(id="x", question="q", context="CREATE TABLE t (a INTEGER)", gold="SELECT oops FROM t")
    score = score_answers("m", [question], {"x": "SELECT 1"})
    assert (score.questions, score.not_judged) == (0, 1)


def test_repeated_id_is_refused():
    with pytest.raises(ScoringError, match="occurs more than once"):
        score_answers("m", [*SUITE, SUITE[-1]], {})
