"""Scores to a verdict: the statistics behind it, each rule, and real pairs of models."""

from __future__ import annotations

import json
import math

import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from sqltune.config.gate_rules import GateRules
from sqltune.config.loading import load_gate_rules, load_recipe
from sqltune.config.recipe import Recipe
from sqltune.errors import ConfigError, ScoringError
from sqltune.evaluation.gate import decide
from sqltune.evaluation.questions import Question
from sqltune.evaluation.score import Score
from sqltune.evaluation.scorer import score_queries
from sqltune.evaluation.statistics import compare, interval
from sqltune.evaluation.verdict import Verdict
from tests.conftest import shared_data

RULES = load_gate_rules(load_recipe("codellama_7b_qlora"), "codellama_7b_qlora")
LENIENT = GateRules(
    confidence=0.95, margin=1, min_gain=-1, min_questions=1, floor=0, max_invalid=1, max_vacuous=1
)
T = "CREATE TABLE t (a INTEGER, b VARCHAR)"


def suite(size: int, guarded: int = 0, gold: str = "SELECT b FROM t WHERE a > {}") -> list[Question]:
    return [
        Question(id=f"q{i:03d}", question="q", context=T, gold=gold.format(i), must_not_break=i < guarded)
        for i in range(size)
    ]


def answers(
    questions: list[Question], wrong: set[int] = frozenset(), invalid: set[int] = frozenset()
) -> Score:
    return score_queries(
        "m",
        questions,
        {
            q.id: "SELECT" if i in invalid else "SELECT 1" if i in wrong else q.gold
            for i, q in enumerate(questions)
        },
    )


def rule(decision: Verdict, name: str):
    return next(r for r in decision.rules if r.id == name)


@pytest.mark.parametrize(
    ("n", "gained", "lost", "confidence"),
    [(100, 10, 4, 0.95), (1034, 150, 59, 0.95), (50, 0, 5, 0.9), (200, 3, 3, 0.99), (80, 12, 0, 0.95)],
)
def test_the_interval_is_what_the_score_test_does_not_reject(n, gained, lost, confidence):
    """At each end the score statistic, its variance from a likelihood maximised by numbers, is the normal quantile."""
    z = norm.ppf((1 + confidence) / 2)
    for end in interval(n, gained, lost, confidence):

        def unlikely(share: float, end: float = end) -> float:
            up, same = share + end, 1 - 2 * share - end
            return -sum(
                k * math.log(max(p, 1e-300))
                for k, p in ((gained, up), (lost, share), (n - gained - lost, same))
                if k
            )

        share = minimize_scalar(
            unlikely, bounds=(max(0, -end), (1 - end) / 2), method="bounded", options={"xatol": 1e-12}
        ).x
        assert abs(gained - lost - n * end) / math.sqrt(n * (2 * share + end * (1 - end))) == pytest.approx(
            z, rel=2e-3
        )


def test_the_interval_is_symmetric_and_shrinks_and_is_there_without_a_difference():
    low, high = interval(100, 12, 5, 0.95)
    assert interval(100, 5, 12, 0.95) == pytest.approx((-high, -low)) and low < 0.07 < high
    assert interval(1000, 120, 50, 0.95)[0] > low
    assert -0.05 < interval(100, 0, 0, 0.95)[0] < 0 < interval(100, 0, 0, 0.95)[1] < 0.05


def test_mcnemar():
    # Ten against two: twice the share of the binomial tail, 2 * (1 + 12 + 66) / 4096.
    assert compare(100, 10, 2).p_value == pytest.approx(2 * 79 / 4096) and compare(100, 0, 0).p_value == 1


def test_a_better_model_is_let_through_and_a_worse_one_is_held_back_with_the_questions_named():
    questions = suite(60)
    good, bad = answers(questions), answers(questions, wrong=set(range(9)))
    rules = RULES
    assert decide(bad, good, rules).passed
    held = decide(good, bad, rules)
    assert (
        not held.passed
        and [f.id for f in held.lost] == [f"q{i:03d}" for i in range(9)]
        and held.lost[0].after == "mismatch (other rows)"
    )
    words = str(held)
    assert (
        "held back" in words
        and "60 → 51 of 60 correct: -15.0 points (0 gained, 9 lost)" in words
        and "lost q003: match → mismatch" in words
    )


def test_the_same_model_again_is_not_better():
    questions = suite(60)
    same = decide(answers(questions), answers(questions), RULES)
    assert not same.passed and [r.id for r in same.rules if not r.passed] == [
        "gain",
        "not_worse",
        "gain_by_rows",
    ]


def test_one_gained_and_many_exchanged_is_no_proof():
    questions = suite(60)
    before, after = answers(questions, wrong=set(range(12))), answers(questions, wrong=set(range(12, 23)))
    found = decide(before, after, RULES)
    assert rule(found, "gain").passed and not rule(found, "not_worse").passed and not found.passed


def test_a_guarded_question_that_breaks_holds_back_a_better_model():
    questions = suite(60, guarded=3)
    found = decide(answers(questions, wrong=set(range(3, 40))), answers(questions, wrong={1}), RULES)
    assert [r.id for r in found.rules if not r.passed] == ["guarded"] and "broken: q001" in str(found)


@pytest.mark.parametrize(
    ("limits", "wrong", "invalid", "name"),
    [
        ({"min_questions": 61}, set(), set(), "enough_questions"),
        ({"floor": 0.9}, set(range(10)), set(), "floor"),
        ({"max_invalid": 0.1}, set(), set(range(7)), "runs"),
        ({"min_gain": 0.2}, set(range(30)), set(), "gain"),
    ],
)
def test_each_limit_holds_back_by_itself(limits, wrong, invalid, name):
    questions = suite(60)
    before = answers(questions, wrong=set(range(40)))
    found = decide(
        before, answers(questions, wrong=wrong, invalid=invalid), LENIENT.model_copy(update=limits)
    )
    assert name == next(r.id for r in found.rules if not r.passed)
    assert decide(before, answers(questions, wrong=wrong, invalid=invalid), LENIENT).passed


def test_matches_of_empty_results_are_no_gain():
    questions = [
        *suite(30),
        *[
            q.model_copy(update={"id": f"e{q.id}"})
            for q in suite(30, gold="SELECT b FROM t WHERE a > {} AND 1 = 0")
        ],
    ]
    before, after = answers(questions, wrong=set(range(25, 60))), answers(questions, wrong=set(range(20, 30)))
    found = decide(before, after, LENIENT.model_copy(update={"min_gain": 0.0, "max_vacuous": 0.3}))
    assert after.vacuous == 30 and found.comparison.difference > 0.4
    assert [r.id for r in found.rules if not r.passed] == [
        "gain_by_rows",
        "not_vacuous",
    ]


def test_scores_of_other_questions_are_not_compared():
    with pytest.raises(ScoringError, match="not the same"):
        decide(answers(suite(10)), answers(suite(9)), LENIENT)


def test_real_models():
    """CodeS-1B answers 8.8 points more of Spider than ChatGPT did: let through; the other way round held back."""
    data = shared_data("spider_dev")
    questions = [
        Question(
            id=f"{i}",
            question=r["question"],
            context="",
            gold=r["query"],
            database=str(data / "sqlite" / f"{r['db_id']}.sqlite"),
        )
        for i, r in enumerate(json.loads((data / "dev.json").read_text()))
    ]
    chatgpt = [
        f"SELECT {r['result']}"
        for r in json.loads((data / "predictions/chatgpt-2303-spider.json").read_text())
    ]
    codes = (data / "predictions/codes-1b-spider-dev.txt").read_text().splitlines()
    one, other = (
        score_queries(name, questions, {q.id: p for q, p in zip(questions, predicted, strict=True)})
        for name, predicted in (("chatgpt", chatgpt), ("codes", codes))
    )
    forward, back = decide(one, other, RULES), decide(other, one, RULES)
    assert (
        forward.passed
        and forward.comparison.difference == pytest.approx(0.088, abs=0.002)
        and forward.comparison.low > 0.05
        and forward.comparison.p_value < 1e-8
    )
    assert not back.passed and back.comparison.difference == pytest.approx(-forward.comparison.difference)


def test_the_rules_of_the_file_and_of_a_recipe():
    recipe = load_recipe("lab_tiny")
    assert (
        isinstance(recipe, Recipe)
        and load_gate_rules(recipe, "lab_tiny").margin == 1
        and load_gate_rules(recipe, "lab_tiny").confidence == 0.95
    )
    with pytest.raises(ConfigError, match=r"recipes/lab_tiny.yaml.gate.margn: is not a field here"):
        load_gate_rules(recipe.model_copy(update={"gate": {"margn": 1}}), "lab_tiny")


def test_a_rule_that_is_missing_is_named(monkeypatch, tmp_path):
    (tmp_path / "gate.yaml").write_text("confidence: 0.95\nmargin: 2\n")
    monkeypatch.setattr("sqltune.config.paths.CONFIGS", tmp_path)
    with pytest.raises(
        ConfigError, match=r"(?s)gate.yaml.margin: 2 is not allowed.*gate.yaml.floor: is missing"
    ):
        load_gate_rules(None, "")
