"""Answers to scores."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, Field

from sqltune.config import CONFIGS
from sqltune.sql_match import match

REFERENCE = "reference"


class Question(BaseModel):
    """One question of a suite: `include/configs/regression/*.jsonl`, or a held-out row of the data set."""

    id: str
    question: str
    context: str
    gold: str
    tags: list[str] = Field(default_factory=list)
    must_not_break: bool = False


class Scored(BaseModel):
    """One answer and what it is worth."""

    id: str
    answer: str
    verdict: str
    reason: str = ""
    vacuous: bool = False


class Score(BaseModel):
    """A model's answers to a suite, judged."""

    model: str
    questions: int = Field(description="Held-out questions asked.")
    matched: int = Field(description="Of these, answered with the right rows.")
    invalid: int = Field(description="Of these, answered with SQL that does not run.")
    vacuous: int = Field(description="Of the matched, where both results were empty.")
    by_language: dict[str, tuple[int, int]] = Field(description="Matched and asked, for zh and en.")
    reference: dict[str, bool] = Field(description="The reference prompts, each right or not.")
    scored: list[Scored]

    @property
    def accuracy(self) -> float:
        return self.matched / self.questions if self.questions else 0.0

    @property
    def summary(self) -> dict[str, object]:
        """Without the single answers."""
        return self.model_dump(exclude={"scored"}) | {"accuracy": round(self.accuracy, 4)}


def reference_questions(path: Path | None = None) -> list[Question]:
    """The reference prompts, which are in every suite."""
    text = (path or CONFIGS / "regression" / "reference.jsonl").read_text(encoding="utf-8")
    return [Question.model_validate_json(line) for line in text.splitlines() if line.strip()]


def suite(rows: Sequence[dict[str, str]]) -> list[Question]:
    """The reference prompts and the held-out rows."""
    held_out = [
        Question(id=f"q{number:04d}", question=r["question"], context=r["context"], gold=r["answer"], tags=[language(r["question"])])
        for number, r in enumerate(rows)
    ]
    return [*reference_questions(), *held_out]


def language(question: str) -> str:
    """zh when Chinese characters stand in the question, else en."""
    return "zh" if re.search(r"[\u4e00-\u9fff]", question) else "en"


_FENCE = re.compile(r"```(?:sql)?\s*(.*?)(?:```|$)", re.S | re.I)


def extract_sql(answer: str) -> str:
    """The query in a model's answer: out of a code fence if there is one, up to the first semicolon outside quotes."""
    fenced = _FENCE.search(answer)
    text = (fenced[1] if fenced else answer).strip()
    end = re.match(r"(?:[^;'\"]|'[^']*'|\"[^\"]*\")*", text)
    return (end[0] if end else text).strip()


def score(model: str, questions: Sequence[Question], answers: dict[str, str]) -> Score:
    """Judge every answer; a question without an answer counts as wrong."""
    verdicts = match([(q.context, q.gold, extract_sql(answers.get(q.id, ""))) for q in questions])
    scored = [
        Scored(id=q.id, answer=answers.get(q.id, ""), verdict=v.verdict, reason=v.reason, vacuous=v.vacuous)
        for q, v in zip(questions, verdicts, strict=True)
    ]
    # A question whose gold does not run proves nothing either way.
    judged = [(q, s) for q, s in zip(questions, scored, strict=True) if REFERENCE not in q.tags and s.verdict != "gold_invalid"]
    languages: dict[str, tuple[int, int]] = {}
    for q, s in judged:
        hit, asked = languages.get(language(q.question), (0, 0))
        languages[language(q.question)] = (hit + (s.verdict == "match"), asked + 1)
    return Score(
        model=model, questions=len(judged), matched=sum(s.verdict == "match" for _, s in judged),
        invalid=sum(s.verdict == "invalid" for _, s in judged), vacuous=sum(s.vacuous for _, s in judged),
        by_language=languages, reference={q.id: s.verdict == "match" for q, s in zip(questions, scored, strict=True) if REFERENCE in q.tags},
        scored=scored,
    )


def table(before: Score, after: Score, reference: Score | None = None, reference_label: str = "") -> str:
    """The before/after table as text."""
    columns = [("before", before), ("after", after)] + ([(reference_label, reference)] if reference else [])
    ref_ids = list(before.reference)
    lines = [["", *(label for label, _ in columns)]]
    lines.append(["model", *(s.model for _, s in columns)])
    lines.append(["execution match", *(f"{s.matched}/{s.questions} ({s.accuracy:.0%})" for _, s in columns)])
    for name in ("zh", "en"):
        lines.append([f"  {name}", *("{}/{}".format(*s.by_language.get(name, (0, 0))) for _, s in columns)])
    lines.append(["SQL that does not run", *(str(s.invalid) for _, s in columns)])
    lines += [[ref, *("right" if s.reference.get(ref) else "wrong" for _, s in columns)] for ref in ref_ids]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def dump(value: BaseModel) -> object:
    """A model as plain JSON values."""
    return json.loads(value.model_dump_json())
