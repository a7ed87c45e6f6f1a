"""Explained questions in the terminal: plain text, whatever the models wrote."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sqltune.evaluation.explained import ExplainedQuestion
from sqltune.evaluation.explanation import explain
from sqltune.evaluation.explanation_view import print_explained, printable
from sqltune.evaluation.judge import Pair
from tests.sqltune.evaluation.witnesses import CONTEXT, database, league


def shown(question: ExplainedQuestion, width: int = 100) -> str:
    stream = io.StringIO()
    print_explained(Console(file=stream, width=width), [question])
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def explained(file: str, gold: str, context: str = CONTEXT, **answers: str) -> ExplainedQuestion:
    pairs = [Pair(gold, answer, context, file) for answer in answers.values()]
    return ExplainedQuestion(
        id="000017",
        question="谁超过25岁？",
        gold=gold,
        answers=dict(zip(answers, explain(pairs), strict=True)),
    )


def test_question_with_the_answers_of_two_models(tmp_path, golden):
    question = explained(
        league(tmp_path),
        "SELECT p.name FROM player p JOIN team t ON p.team_id = t.id WHERE p.age > 25",
        before="SELECT name FROM player WHERE years > 25",
        after="SELECT p.name, p.age FROM player p JOIN team t ON p.team_id = t.id WHERE p.age > 25",
    )
    golden("explained_question.txt", shown(question))


def test_wide_table_shows_the_columns_that_are_read(tmp_path):
    context = "CREATE TABLE wide (c1, c2, c3, c4, c5, c6, c7, c8)"
    file = database(tmp_path / "a.sqlite", {"wide": [tuple(range(8))]}, context)
    text = shown(explained(file, "SELECT c3 FROM wide", context, answer="SELECT c6 FROM wide"))
    assert "wide (6 more columns)" in text
    assert "c1" not in text


def test_text_that_looks_like_a_number_is_in_quotes(tmp_path):
    file = database(tmp_path / "a.sqlite", {"team": [(1, "6", "NULL")]})
    text = shown(explained(file, "SELECT name, city FROM team", answer="SELECT 6, NULL FROM team"))
    assert "'6'    'NULL'" in text
    assert "6   NULL" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\x1b[2J\x07b", "a\\x1b[2J\\x07b"),
        ("a\u202eb\u2066", "a\\u202eb\\u2066"),
        ("a\n\t b", "a b"),
        ("[bold]x[/bold]", "[bold]x[/bold]"),
        ("中文 é", "中文 é"),
        ("x" * 100_000, "x" * 2000 + "…"),
    ],
)
def test_text_of_a_model_does_not_steer_the_terminal(text, expected):
    assert printable(text) == expected


def test_hostile_names_and_values_are_shown_as_text(tmp_path):
    context = 'CREATE TABLE "t\x1b[2J" ("[red]c[/red]" TEXT, "<b>d</b>" TEXT)'
    file = database(tmp_path / "a.sqlite", {"t\x1b[2J": [("[blink]v", "\u202ew")]}, context)
    question = explained(
        file,
        'SELECT "[red]c[/red]" FROM "t\x1b[2J"',
        context,
        answer='SELECT "<b>d</b>" FROM "t\x1b[2J"',
    )
    text = shown(question)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[red]c[/red]" in text
    assert "[blink]v" in text


def test_query_of_a_hundred_kilobytes_is_cut(tmp_path):
    question = explained(
        league(tmp_path), "SELECT name FROM team", answer="SELECT city FROM team" + " " * 50_000
    )
    text = shown(question.model_copy(update={"gold": "SELECT " + "x, " * 30_000}))
    assert len(text) < 20_000
