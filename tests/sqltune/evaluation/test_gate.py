"""From two scores to a verdict: constructed scores, and those of real models."""

from __future__ import annotations

import pytest

from sqltune.config import paths
from sqltune.config.loading import load_gate_rules, load_recipe
from sqltune.dataset.rows import read_rows
from sqltune.errors import ConfigError, ScoringError
from sqltune.evaluation.audit.flags import Flag
from sqltune.evaluation.gate import decide
from sqltune.evaluation.questions import Question, question_from_row
from sqltune.evaluation.score import Score
from sqltune.evaluation.score_files import read_predictions
from sqltune.evaluation.scorer import count, score_queries, with_flags
from tests.conftest import shared_data
from tests.sqltune.evaluation.builders import judged, score_of, speed_of

RULES = load_gate_rules(load_recipe("codellama_7b_qlora"), "codellama_7b_qlora")


def failed(verdict) -> list[str]:
    return [rule.id for rule in verdict.failed_rules]


def test_better_model_passes():
    assert decide(score_of(60, wrong=range(9)), score_of(60), RULES).passed


def test_worse_model_is_held_back():
    assert not decide(score_of(60), score_of(60, wrong=range(9)), RULES).passed


def test_verdict_names_every_lost_question_with_its_outcome():
    verdict = decide(score_of(60), score_of(60, wrong=range(9)), RULES)
    assert [change.id for change in verdict.lost] == [f"q{i:03d}" for i in range(9)]
    assert verdict.lost[0].before == "match"
    assert verdict.lost[0].after == "mismatch (other rows)"
    assert verdict.gained == ()


def test_same_model_again_is_held_back():
    verdict = decide(score_of(60), score_of(60), RULES)
    assert failed(verdict) == ["gain", "not_worse", "gain_by_rows"]


def test_guarded_question_that_breaks_holds_back_a_better_model():
    verdict = decide(score_of(60, wrong=range(3, 40), guarded=3), score_of(60, wrong={1}, guarded=3), RULES)
    assert failed(verdict) == ["guarded"]


def test_reference_prompt_is_guarded_and_not_counted():
    def score(outcome) -> Score:
        made = score_of(60, wrong=range(30) if outcome == "match" else ())
        prompt = judged(99, outcome, tags=("reference",), must_not_break=True)
        return made.model_copy(update={"answers": (*made.answers, prompt)})

    verdict = decide(score("match"), score("mismatch"), RULES)
    assert failed(verdict) == ["guarded"]
    assert verdict.comparison.questions == 60


TIE = (Flag(reason="tie_at_limit", detail="rows tie"),)


def flagged(numbers) -> dict[str, tuple[Flag, ...]]:
    return {f"q{i:03d}": TIE for i in numbers}


def test_headline_stays_when_the_verdict_hangs_on_doubtful_golds():
    before = with_flags(score_of(60, wrong=range(9)), flagged(range(9)))
    verdict = decide(before, score_of(60), RULES)
    assert verdict.passed
    assert verdict.headline == "passed"
    assert not verdict.rules[-1].passed


def test_doubtful_golds_are_those_that_either_score_flags():
    before = with_flags(score_of(60, wrong=range(9)), flagged([1]))
    after = with_flags(score_of(60), flagged([2]))
    assert decide(before, after, RULES).flags == flagged([1, 2])


def test_changed_answer_says_that_its_gold_is_doubtful():
    verdict = decide(with_flags(score_of(60, wrong=range(9)), flagged([1])), score_of(60), RULES)
    assert [change.doubts for change in verdict.gained[:3]] == [(), ("tie_at_limit",), ()]


def test_scores_by_other_gold_queries_are_refused():
    other = [judged(i, expected_sql="SELECT 1") for i in range(10)]
    with pytest.raises(ScoringError, match="gold queries are not the same"):
        decide(score_of(10), count("m", other), RULES)


def test_scores_of_other_questions_are_refused():
    with pytest.raises(ScoringError, match="not the same"):
        decide(score_of(10), score_of(9), RULES)


@pytest.fixture(scope="module")
def real_scores() -> tuple[Score, Score]:
    """ChatGPT and CodeS-1B on Spider dev: CodeS answers 8.8 points more."""
    data = shared_data("spider_dev")
    questions: list[Question] = [
        question_from_row(row, f"{i}", data / "sqlite")
        for i, row in enumerate(read_rows([data / "dev.json"]))
    ]
    files = ("chatgpt-2303-spider.json", "codes-1b-spider-dev.txt")
    chatgpt, codes = (
        score_queries(
            file,
            questions,
            {
                q.id: sql
                for q, sql in zip(questions, read_predictions(data / "predictions" / file), strict=True)
            },
        )
        for file in files
    )
    return chatgpt, codes


def test_codes_after_chatgpt_passes(real_scores):
    chatgpt, codes = real_scores
    verdict = decide(chatgpt, codes, RULES)
    assert verdict.passed
    assert verdict.comparison.difference == pytest.approx(0.088, abs=0.002)
    assert verdict.comparison.low > 0.05
    assert verdict.comparison.p_value < 1e-8


def test_chatgpt_after_codes_is_held_back(real_scores):
    chatgpt, codes = real_scores
    verdict = decide(codes, chatgpt, RULES)
    assert not verdict.passed
    forward = decide(chatgpt, codes, RULES)
    assert verdict.comparison.difference == pytest.approx(-forward.comparison.difference)


def test_recipe_overrides_a_limit_of_the_file():
    limits = load_gate_rules(load_recipe("lab_tiny"), "lab_tiny")
    assert limits.margin == 1
    assert limits.confidence == 0.95


def test_speed_decides_only_where_a_limit_is_set():
    before, after = score_of(60, wrong=range(9), speed=speed_of(1.0)), score_of(60, speed=speed_of(2.0))
    assert decide(before, after, RULES).passed
    limits = RULES.model_copy(update={"max_slowdown": 1.5})
    assert decide(before, after, limits).headline == "held back: not_slower"


def test_recipe_sets_a_limit_that_the_file_leaves_open():
    recipe = load_recipe("lab_tiny").model_copy(update={"gate": {"max_latency": 2.5}})
    limits = load_gate_rules(recipe, "lab_tiny")
    assert (limits.max_latency, limits.max_slowdown) == (2.5, None)


@pytest.mark.parametrize("limit", ["max_latency", "max_slowdown"])
def test_limit_of_speed_that_no_model_can_meet_is_named(limit):
    recipe = load_recipe("lab_tiny").model_copy(update={"gate": {limit: 0}})
    with pytest.raises(ConfigError, match=rf"recipes/lab_tiny.yaml.gate.{limit}: 0 is not allowed"):
        load_gate_rules(recipe, "lab_tiny")


def test_unknown_limit_of_a_recipe_is_named():
    recipe = load_recipe("lab_tiny").model_copy(update={"gate": {"margn": 1}})
    with pytest.raises(ConfigError, match=r"recipes/lab_tiny.yaml.gate.margn: is not a field here"):
        load_gate_rules(recipe, "lab_tiny")


def test_every_mistake_of_the_file_is_named(monkeypatch, tmp_path):
    (tmp_path / "gate.yaml").write_text("confidence: 0.95\nmargin: 2\n")
    recipe = load_recipe("lab_tiny")
    monkeypatch.setattr(paths, "CONFIGS", tmp_path)
    with pytest.raises(ConfigError) as e:
        load_gate_rules(recipe, "lab_tiny")
    assert "gate.yaml.margin: 2 is not allowed" in str(e.value)
    assert "gate.yaml.floor: is missing" in str(e.value)
