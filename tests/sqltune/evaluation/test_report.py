"""What a person reads: the table, the reference prompts, the report of a run, one score."""

from __future__ import annotations

import pytest

from sqltune.evaluation.audit.flags import Flag
from sqltune.evaluation.gate import decide
from sqltune.evaluation.questions import Question
from sqltune.evaluation.report import Column, comparison_table, reference_prompts, run_report, score_report
from sqltune.evaluation.score import Score
from sqltune.evaluation.scorer import score_answers, with_flags
from sqltune.evaluation.speed import Speed
from sqltune.evaluation.suites import assemble, held_out
from sqltune.evaluation.verdict import RecordedVerdict
from tests.sqltune.evaluation.builders import CONTEXT, dataset_rows
from tests.sqltune.evaluation.test_gate import RULES

ROWS = dataset_rows(8)
SUITE = [
    *assemble(held_out(ROWS)),
    Question(id="no-gold", question="q", context=CONTEXT, gold="SELECT oops FROM t"),
    Question(id="empty", question="q", context=CONTEXT, gold="SELECT a, b FROM t WHERE a > 1 AND 1 = 0"),
]
GOLDS = {q.id: q.gold for q in SUITE}
IDS = [q.id for q in SUITE if q.id.startswith("held_out")]


@pytest.fixture(scope="module")
def before() -> Score:
    """A model that fails some questions, in several ways."""
    answers = {
        IDS[0]: "SELECT 1",
        IDS[1]: "SELEKT",
        IDS[2]: "SELECT x FROM t",
        IDS[3]: "DROP TABLE t",
        "ref-zh-group": "SELECT creation\nFROM department\nGROUP BY creation",
        "ref-zh-count": "",
    }
    return score_answers("base", SUITE, GOLDS | answers)


@pytest.fixture(scope="module")
def after() -> Score:
    """A model that fails one question."""
    fenced = f"```sql\n{GOLDS['ref-zh-count']};\n```\nThis counts them."
    return score_answers("candidate", SUITE, GOLDS | {IDS[1]: "SELECT 1", "ref-zh-count": fenced})


@pytest.fixture(scope="module")
def not_evaluated() -> Score:
    """The score of a model that was not evaluated."""
    return score_answers("glm-4", [], {})


def timed(score: Score, p95: float, answers: int) -> Score:
    """The score, its answers generated in 20 seconds."""
    speed = Speed(answers=answers, seconds=20.0, p50=p95 / 2, p95=p95, tokens=None)
    return score.model_copy(update={"speed": speed})


def test_report_of_a_run(golden, before, after):
    before, after = timed(before, 3.2, 14), timed(after, 2.95, 14)
    verdict = RecordedVerdict.of(decide(before, after, RULES), comparison_table(before, after))
    golden("run_report.txt", run_report(before, after, verdict) + "\n")


def test_report_of_one_score(golden, before):
    golden("score_report.txt", score_report(before) + "\n")


def test_table_with_a_hosted_reference_that_was_not_evaluated(golden, before, after, not_evaluated):
    golden(
        "comparison_table.txt",
        comparison_table(before, after, Column("glm-4 (no key)", not_evaluated)) + "\n",
    )


DOUBTFUL = {
    IDS[0]: (Flag(reason="tie_at_limit", detail="rows tie"), Flag(reason="missing_comma", detail="a b")),
    IDS[7]: (Flag(reason="tie_at_limit", detail="rows tie"),),
}


def test_table_with_doubtful_golds(golden, before, after, not_evaluated):
    scores = (with_flags(score, DOUBTFUL) for score in (before, after))
    text = comparison_table(*scores, Column("glm-4 (no key)", not_evaluated))
    golden("comparison_table_with_doubtful_golds.txt", text + "\n")


def test_report_of_one_score_with_doubtful_and_corrected_golds(golden, before):
    first, *rest = before.answers
    corrected = before.model_copy(
        update={"answers": (first.model_copy(update={"tags": (*first.tags, "corrected")}), *rest)}
    )
    golden("score_report_with_doubtful_golds.txt", score_report(with_flags(corrected, DOUBTFUL)) + "\n")


def test_table_counts_corrected_golds(before, after):
    text = comparison_table(before.model_copy(update={"corrected": 2}), after)
    assert line(text, "corrected gold queries")[-2:] == ["2", "0"]


def line(text: str, name: str) -> list[str]:
    """The cells of the table's line of that name."""
    return next(row for row in text.splitlines() if row.strip().startswith(name)).split()


def test_table_shows_execution_match_of_both_models(before, after):
    text = comparison_table(before, after)
    assert line(text, "execution match") == ["execution", "match", "5/9", "(56%)", "8/9", "(89%)"]


def test_table_shows_each_reference_prompt(before, after):
    assert line(comparison_table(before, after), "ref-zh-group") == ["ref-zh-group", "wrong", "right"]


def test_table_leaves_out_the_numbers_of_a_model_that_was_not_evaluated(before, after, not_evaluated):
    text = comparison_table(before, after, Column("glm-4 (no key)", not_evaluated))
    assert text.splitlines()[0].endswith("glm-4 (no key)")
    assert line(text, "model")[-1] == "glm-4"
    assert line(text, "execution match")[-1] == "–"
    assert line(text, "ref-zh-count") == ["ref-zh-count", "wrong", "right", "–"]


def test_reference_prompts_show_question_both_answers_and_the_expected_sql(before, after):
    text = reference_prompts(before, after)
    assert "ref-zh-group: 大多数部门在哪一年成立?" in text
    assert "before    wrong  SELECT creation FROM department GROUP BY creation\n" in text
    assert f"after     right  {GOLDS['ref-zh-group']}\n" in text
    assert f"expected         {GOLDS['ref-zh-group']}\n" in text


def test_reference_prompts_show_the_query_without_its_code_fence(before, after):
    assert f"after     right  {GOLDS['ref-zh-count']}\n" in reference_prompts(before, after)


def test_reference_prompts_say_when_an_answer_holds_no_sql(before, after):
    assert "before    wrong  (no SQL)" in reference_prompts(before, after)


def test_reference_prompts_are_all_three(before, after):
    text = reference_prompts(before, after)
    assert text.count("expected") == 3


def test_table_counts_the_error_classes_of_both_models(before, after):
    text = comparison_table(before, after)
    assert line(text, "other rows") == ["other", "rows", "1", "1"]
    assert line(text, "table") == ["table", "1", "1"]


def test_table_shows_how_fast_both_models_answered_and_of_how_many_answers(before, after):
    text = comparison_table(timed(before, 3.2, 4), timed(after, 12.345, 13))
    assert line(text, "answers a second")[3:] == ["0.20", "(of", "4)", "0.65", "(of", "13)"]
    assert line(text, "p95 latency")[2:] == ["3.20", "s", "12.35", "s"]


def test_table_has_no_speed_of_a_model_whose_answers_were_known(before, after):
    text = comparison_table(before, timed(after, 2.0, 13))
    assert line(text, "answers a second")[3:] == ["–", "0.65", "(of", "13)"]
    assert line(text, "p95 latency")[2:] == ["–", "2.00", "s"]


def test_table_has_no_line_of_speeds_where_none_is_known(before, after):
    assert "answers a second" not in comparison_table(before, after)
