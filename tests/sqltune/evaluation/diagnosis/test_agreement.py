"""The rules against wrong answers that were labelled by reading; see labelled/README.md."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from sqltune.evaluation.diagnosis.diagnose import diagnose
from sqltune.evaluation.diagnosis.steps import ERROR_CLASSES
from sqltune.evaluation.execution_match import match_pairs
from sqltune.evaluation.judge import Pair
from sqltune.evaluation.questions import question_from_row
from sqltune.evaluation.score_files import read_predictions
from sqltune.sql.create_table import quote_context
from sqltune.sql.normalise import normalise
from tests.conftest import shared_data

LABELLED = Path(__file__).parent / "labelled"
GOAL = 0.9


class Labelled(NamedTuple):
    """A wrong answer, and the class that a reader gave it."""

    gold: str
    answer: str
    context: str
    label: str
    part: str


@cache
def own() -> list[Labelled]:
    """The pairs on schemas of this project's own."""
    document = json.loads((LABELLED / "own.json").read_text())
    return [
        Labelled(p["gold"], p["answer"], document["schemas"][p["schema"]], p["label"], p["part"])
        for p in document["pairs"]
    ]


def spider() -> list[Labelled]:
    """The answers to Spider dev; skips where the data is not at hand."""
    data = shared_data("spider_dev")
    rows = json.loads((data / "dev.json").read_text())
    pairs = []
    for line in (LABELLED / "spider.jsonl").read_text().splitlines():
        entry = json.loads(line)
        answers = _predictions(data / "predictions" / entry["predictions"])
        number = entry["item"]
        question = question_from_row(rows[number - 1], str(number), data / "sqlite")
        pairs.append(
            Labelled(question.gold, answers[number - 1], question.context, entry["label"], entry["part"])
        )
    return pairs


@cache
def _predictions(file: Path) -> list[str]:
    return read_predictions(file)


def disagreements(pairs: Iterable[Labelled]) -> list[str]:
    """The pairs that the rules classify otherwise, as lines for the log."""
    diagnosed = ((pair, diagnose(pair.gold, pair.answer, pair.context)) for pair in pairs)
    return [
        f"label {pair.label}, rules {diagnosis.error_class}: {pair.gold} | {pair.answer} | "
        f"{[d.text for d in diagnosis.differences]}"
        for pair, diagnosis in diagnosed
        if diagnosis.error_class != pair.label
    ]


@pytest.mark.parametrize("part", ["tuning", "held back"])
@pytest.mark.parametrize("source", [own, spider])
def test_rules_agree_with_the_reader(source, part):
    pairs = [pair for pair in source() if pair.part == part]
    wrong = disagreements(pairs)
    assert len(wrong) <= (1 - GOAL) * len(pairs), "\n".join(wrong)


def test_every_label_is_a_class():
    labels = {pair.label for pair in own()} | {
        json.loads(line)["label"] for line in (LABELLED / "spider.jsonl").read_text().splitlines()
    }
    # `other` is what no class fits: none of the labelled answers.
    assert labels == {*ERROR_CLASSES} - {"other"}


def test_at_least_200_answers_are_labelled_and_100_of_them_held_back():
    parts = [pair.part for pair in own()]
    parts += [json.loads(line)["part"] for line in (LABELLED / "spider.jsonl").read_text().splitlines()]
    assert len(parts) >= 200
    assert parts.count("held back") >= 100


def test_answers_of_our_own_are_wrong():
    pairs = [
        Pair(
            normalise(pair.gold, pair.context).sql,
            normalise(pair.answer, pair.context).sql,
            quote_context(pair.context),
        )
        for pair in own()
    ]
    assert {match.outcome for match in match_pairs(pairs)} == {"mismatch"}


def test_two_thousand_answers_take_less_than_five_seconds_of_one_core():
    pairs = [own()[i % len(own())] for i in range(2_000)]
    start = time.process_time()
    for pair in pairs:
        diagnose(pair.gold, pair.answer, pair.context)
    assert time.process_time() - start < 5
