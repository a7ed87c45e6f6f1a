"""Answers, evaluations and verdicts of a run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sqltune.records import answers, evaluations, questions, runs, verdicts
from sqltune.records.comparisons import AnswerFilter, compare
from sqltune.records.evaluations import EvaluationRecord, JudgementRecord
from sqltune.records.questions import QuestionRecord
from tests.plans import run_plan


@pytest.fixture(autouse=True)
def run(engine):
    runs.put_plan(run_plan())


def question(number: int, **fields: object) -> QuestionRecord:
    made = QuestionRecord(
        name=f"held_out-{number}",
        question=f"问题 {number}？",
        context="CREATE TABLE t (a INTEGER)",
        gold=f"SELECT {number}",
        tags=["held_out"],
        language="zh",
        hardness="easy",
    )
    return replace(made, **fields)


def judged(letters: str, model: str = "h1") -> EvaluationRecord:
    """An evaluation with a judgement for each letter: m for match, i for invalid, x for mismatch."""
    names = {"m": "match", "i": "invalid", "x": "mismatch"}
    judgements = [
        JudgementRecord(
            question=question(number, language="en" if number % 2 else "zh"),
            prompt_hash=f"p{number}",
            outcome=names[letter],
            failure_class="syntax" if letter == "i" else None,
            strict=letter == "m",
        )
        for number, letter in enumerate(letters)
    ]
    answers.put(model, "d", {j.prompt_hash: f"{model} answers {j.prompt_hash}" for j in judgements})
    score = {"matched": letters.count("m")}
    return EvaluationRecord(
        model="name",
        model_hash=model,
        questions=len(letters),
        matched=letters.count("m"),
        score=score,
        judgements=judgements,
    )


def test_an_answer_is_known_to_every_run():
    answers.put("h1", "d", {"p1": "SELECT 1", "p2": ""})
    assert answers.known("h1", "d", ["p1", "p2", "p3"]) == {"p1": "SELECT 1", "p2": ""}


def test_another_model_or_decoding_has_other_answers():
    answers.put("h1", "d", {"p1": "SELECT 1"})
    assert answers.known("h2", "d", ["p1"]) == {}
    assert answers.known("h1", "e", ["p1"]) == {}


def test_the_first_answer_to_a_prompt_stays():
    answers.put("h1", "d", {"p1": "first"})
    answers.put("h1", "d", {"p1": "second", "p2": "new"})
    assert answers.known("h1", "d", ["p1", "p2"]) == {"p1": "first", "p2": "new"}


@pytest.mark.parametrize("text", ["SELECT\0 1", "SELECT \ud800"])
def test_a_character_that_no_database_stores_is_replaced(text):
    answers.put("h1", "d", {"p1": text, "p2": "SELECT 2"})
    assert answers.known("h1", "d", ["p1", "p2"]) == {
        "p1": text.translate({0: "\N{REPLACEMENT CHARACTER}", 0xD800: "\N{REPLACEMENT CHARACTER}"}),
        "p2": "SELECT 2",
    }


def test_thousands_of_answers_are_found():
    given = {f"p{number}": str(number) for number in range(2500)}
    answers.put("h1", "d", given)
    assert answers.known("h1", "d", given) == given


def test_putting_no_answers_changes_nothing():
    answers.put("h1", "d", {})
    assert answers.known("h1", "d", []) == {}


def test_held_out_questions_keep_their_order():
    sampled = [question(number) for number in (3, 1, 2)]
    questions.put_held_out("r1", sampled)
    assert questions.held_out("r1") == sampled


def test_held_out_questions_are_replaced_by_a_second_try():
    questions.put_held_out("r1", [question(1), question(2)])
    questions.put_held_out("r1", [question(2)])
    assert questions.held_out("r1") == [question(2)]


def test_an_evaluation_is_read_back_with_its_answers():
    evaluations.put("r1", "before", judged("mix"), "d")
    stored = evaluations.get("r1", "before")
    assert (stored.model, stored.questions, stored.matched, stored.score) == ("name", 3, 1, {"matched": 1})
    assert [(j.question.name, j.outcome, j.answer, j.failure_class) for j in stored.judgements] == [
        ("held_out-0", "match", "h1 answers p0", None),
        ("held_out-1", "invalid", "h1 answers p1", "syntax"),
        ("held_out-2", "mismatch", "h1 answers p2", None),
    ]


def test_a_second_evaluation_replaces_the_first():
    evaluations.put("r1", "before", judged("mm"), "d")
    evaluations.put("r1", "before", judged("x"), "d")
    assert [j.outcome for j in evaluations.get("r1", "before").judgements] == ["mismatch"]


def test_a_question_without_an_answer_is_judged_too():
    evaluation = replace(judged("x"), model_hash="unknown")
    evaluations.put("r1", "after", evaluation, "d")
    assert evaluations.get("r1", "after").judgements[0].answer == ""


def test_an_unfinished_evaluation_is_progress_and_no_result():
    evaluations.put_progress("r1", "before", model="m", model_hash="h1", answered=20, questions=100)
    assert evaluations.get("r1", "before") is None
    stored = evaluations.progress("r1")
    assert (stored.phase, stored.answered, stored.questions, stored.is_scored) == ("before", 20, 100, False)


SPEED = {"answers": 20}


def test_speed_is_known_while_the_questions_are_being_answered():
    evaluations.put_progress(
        "r1", "before", model="m", model_hash="h1", answered=20, questions=100, speed=SPEED
    )
    assert evaluations.speed("r1", "before", "h1") == SPEED


def test_speed_of_another_model_of_the_phase_is_not_known():
    evaluations.put_progress(
        "r1", "after", model="m", model_hash="h1", answered=20, questions=100, speed=SPEED
    )
    assert evaluations.speed("r1", "after", "h2") is None


def test_speed_stands_with_the_score():
    evaluations.put("r1", "before", replace(judged("mx"), speed=SPEED), "d")
    assert evaluations.score("r1", "before") == {"matched": 1, "speed": SPEED}
    assert evaluations.get("r1", "before").document["speed"] == SPEED


def test_a_judged_evaluation_is_complete():
    evaluations.put_progress("r1", "before", model="m", model_hash="h1", answered=1, questions=2)
    evaluations.put("r1", "before", judged("mx"), "d")
    stored = evaluations.progress("r1")
    assert (stored.answered, stored.questions, stored.is_scored) == (2, 2, True)


def test_progress_is_none_before_the_first_question():
    assert evaluations.progress("r1") is None


@pytest.fixture
def compared():
    evaluations.put("r1", "before", judged("mmxxi", "h1"), "d")
    evaluations.put("r1", "after", judged("mxmii", "h2"), "d")


@pytest.mark.parametrize(
    ("shown", "numbers"),
    [
        (AnswerFilter(), [0, 1, 2, 3, 4]),
        (AnswerFilter(change="gained"), [2]),
        (AnswerFilter(change="lost"), [1]),
        (AnswerFilter(change="both_right"), [0]),
        (AnswerFilter(change="both_wrong"), [3, 4]),
        (AnswerFilter(outcome="invalid"), [3, 4]),
        (AnswerFilter(failure_class="syntax", language="en"), [3]),
        (AnswerFilter(hardness="extra"), []),
        (AnswerFilter(without_outcome="invalid"), [0, 1, 2]),
        (AnswerFilter(without_tag="held_out"), []),
        (AnswerFilter(without_tag="out"), [0, 1, 2, 3, 4]),
    ],
)
def test_answers_are_filtered(compared, shown, numbers):
    page = compare("r1", shown)
    assert [row.question.name for row in page.rows] == [f"held_out-{number}" for number in numbers]
    assert page.total == len(numbers)


def test_answers_before_and_after_stand_side_by_side(compared):
    (row,) = compare("r1", AnswerFilter(change="gained")).rows
    assert (row.before.answer, row.before.outcome) == ("h1 answers p2", "mismatch")
    assert (row.after.answer, row.after.outcome) == ("h2 answers p2", "match")


def test_answers_come_in_pages(compared):
    page = compare("r1", limit=2, offset=3)
    assert [row.question.name for row in page.rows] == ["held_out-3", "held_out-4"]
    assert page.total == 5


RULES = [
    {"name": "answers more", "passed": True, "explanation": "+5"},
    {"name": "no harm", "passed": False, "explanation": "1"},
]


def test_a_verdict_is_read_back_with_its_rules():
    verdicts.put("r1", passed=False, table="before  after", decision={"gained": []}, rules=RULES)
    stored = verdicts.get("r1")
    assert (stored.passed, stored.table, stored.decision) == (False, "before  after", {"gained": []})
    assert [rule.rule for rule in stored.rules] == RULES
    assert [rule.passed for rule in stored.rules] == [True, False]


def test_a_second_verdict_replaces_the_first():
    verdicts.put("r1", passed=True, table="", decision={}, rules=RULES)
    verdicts.put("r1", passed=True, table="", decision={}, rules=RULES[:1])
    assert len(verdicts.get("r1").rules) == 1


def test_a_run_that_was_not_judged_has_no_verdict():
    assert verdicts.get("r1") is None
