"""Corrections of gold queries: read, checked and applied."""

from __future__ import annotations

from pathlib import Path

import pytest

from sqltune.config import paths
from sqltune.errors import ConfigError
from sqltune.evaluation import corrections
from sqltune.evaluation.questions import Question
from sqltune.evaluation.scorer import score_answers
from sqltune.evaluation.suites import assemble

QUESTION = Question(
    id="q1", question="How many?", context="CREATE TABLE t (a INTEGER)", gold="SELECT a FROM t", tags=("x",)
)
ENTRY = "- {id: q1, gold: SELECT count(*) FROM t, author: Ada, reason: asks for a number}\n"


@pytest.fixture
def file(monkeypatch, tmp_path) -> Path:
    """The corrections file of a configuration of its own, with the reference prompts."""
    folder = tmp_path / "regression"
    folder.mkdir()
    reference = paths.CONFIGS / "regression" / "reference.jsonl"
    (folder / "reference.jsonl").write_text(reference.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(paths, "CONFIGS", tmp_path)
    return folder / "corrections.yaml"


def test_the_projects_own_file_is_valid():
    assert isinstance(corrections.load(), dict)


@pytest.mark.parametrize("text", [None, "", "[]", "# nothing yet\n"])
def test_no_corrections(file, text):
    if text is not None:
        file.write_text(text)
    assert corrections.load() == {}


def test_every_suite_applies_them(file):
    file.write_text(ENTRY)
    corrected = assemble([QUESTION])[-1]
    assert corrected.gold == "SELECT count(*) FROM t"
    assert corrected.tags == ("x", "corrected")


def test_other_questions_keep_their_gold_queries(file):
    file.write_text(ENTRY)
    other = QUESTION.model_copy(update={"id": "q2"})
    assert assemble([other])[-1] == other


def test_corrected_questions_are_counted(file):
    file.write_text(ENTRY)
    questions = assemble([QUESTION])
    score = score_answers("m", questions, {"q1": "SELECT count(*) FROM t"}, processes=1)
    assert score.corrected == 1
    assert score.matched == 1


def test_what_was_corrected_is_said_with_author_and_reason(file):
    file.write_text(ENTRY)
    known = corrections.load()
    lines = corrections.described(corrections.apply([QUESTION], known), known)
    assert lines == ["gold of q1 corrected by Ada: asks for a number"]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("- {id: q1, gold: SELECT 1, author: Ada}", "regression/corrections.yaml[1].reason: is missing"),
        (ENTRY + "- {id: q2, gold: '', author: a, reason: r}", "corrections.yaml[2].gold: '' is not allowed"),
        (ENTRY + ENTRY, "id 'q1' is corrected more than once: keep one"),
        ("- {id: q1, gold: SELECT 1, author: a, reason: r, why: x}", "[1].why: is not a field here"),
        ("q1: SELECT 1", "is not a list: begin each correction with '- id: …'"),
        ("- {id: [", "is not YAML"),
        ("- text", "regression/corrections.yaml[1]"),
    ],
)
def test_mistake_in_the_file_is_named(file, text, mistake):
    file.write_text(text)
    with pytest.raises(ConfigError) as e:
        corrections.load()
    assert mistake in str(e.value)


def test_every_mistake_is_named_at_once(file):
    file.write_text("- {id: q1}\n- {gold: SELECT 1}\n")
    with pytest.raises(ConfigError) as e:
        corrections.load()
    assert len(e.value.mistakes) == 6


def test_correction_that_does_not_run_is_refused(file):
    file.write_text(ENTRY.replace("count(*)", "oops"))
    with pytest.raises(ConfigError, match="gold of 'q1' does not run on its question's schema .*oops"):
        assemble([QUESTION])


def test_names_that_need_quotes_get_them(file):
    file.write_text("- {id: q1, gold: SELECT 总GDP(亿) FROM t, author: a, reason: r}\n", encoding="utf-8")
    asked = QUESTION.model_copy(update={"context": "CREATE TABLE t (总GDP(亿) NUMBER)"})
    assert assemble([asked])[-1].gold == 'SELECT "总GDP(亿)" FROM t'
