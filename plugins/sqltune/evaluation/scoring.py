"""Answers to scores.

    python -m sqltune.evaluation.scoring GOLD PREDICTIONS [--databases DIR] [--json]

GOLD: JSON lines or one JSON list, with the gold under `query`, `answer_sqlite` or `answer` (brought to SQLite's dialect), the database's name under
`db_id` and its CREATE TABLE statements under `context`. PREDICTIONS: one query a line, or a JSON list of queries or of objects with `result`.
Without --databases each row's context is what its queries run on.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel, Field

from sqltune.dataset.rows import read_rows
from sqltune.errors import DatasetError, ScoringError
from sqltune.evaluation.execution_match import Match, Pair, Verdict, match
from sqltune.evaluation.sandbox import TROUBLES, Trouble
from sqltune.evaluation.suites import REFERENCE, Question, from_row, language
from sqltune.sql.shape import CLAUSES, HARDNESS, clauses, hardness, same_query
from sqltune.sql.tokens import first_word

Part = tuple[int, int]
"""Matched, and asked."""


class Scored(BaseModel):
    """One answer and what it is worth."""

    id: str
    answer: str = Field(description="As the model gave it.")
    verdict: Verdict
    reason: str = ""
    strict: bool = Field(False, description="The right rows with columns in place and DISTINCT kept.")
    exact: bool = Field(False, description="The gold's query but for spelling.")
    vacuous: bool = Field(False, description="Gold and prediction both returned nothing.")
    trouble: Trouble | None = Field(None, description="Why it does not run.")
    tags: list[str] = Field(default_factory=list)
    must_not_break: bool = False

    @property
    def right(self) -> bool:
        return self.verdict == "match"


class Score(BaseModel):
    """A model's answers to a suite, judged. The reference prompts are told apart and in none of the numbers."""

    model: str
    questions: int = Field(description="Questions asked whose gold runs.")
    matched: int = Field(
        description="Of these, answered with the right rows: columns in any order, rows as a multiset, DISTINCT dropped, order where the gold orders."
    )
    strict: int = Field(description="Of these, right with columns in place and DISTINCT kept.")
    exact: int = Field(description="Of the matched, the gold's own query but for spelling.")
    vacuous: int = Field(description="Of the matched, where both results were empty: these prove little.")
    invalid: int = Field(description="Answered with SQL that does not run.")
    trouble: dict[str, int] = Field(description="The invalid ones, by class.")
    not_judged: int = Field(description="Questions left out, because their gold does not run.")
    by_language: dict[str, Part] = Field(description="Matched and asked, for zh and en.")
    by_hardness: dict[str, Part] = Field(description="Matched and asked, by Spider's hardness of the gold.")
    by_clause: dict[str, Part] = Field(
        description="Matched and asked, by the clauses that stand in the gold."
    )
    reference: dict[str, bool] = Field(description="The reference prompts, each right or not.")
    scored: list[Scored]

    @property
    def accuracy(self) -> float:
        return self.matched / self.questions if self.questions else 0.0

    @property
    def judged(self) -> list[Scored]:
        """The answers that are in the numbers."""
        return [s for s in self.scored if REFERENCE not in s.tags and s.verdict != "gold_invalid"]

    @property
    def summary(self) -> dict[str, object]:
        """Without the single answers."""
        return self.model_dump(exclude={"scored"}) | {"accuracy": round(self.accuracy, 4)}


_FENCE = re.compile(r"```(?:sql)?\s*(.*?)(?:```|$)", re.S | re.I)


def extract_sql(answer: str) -> str:
    """The query in a model's answer: out of a code fence if there is one, up to the first semicolon outside quotes."""
    fenced = _FENCE.search(answer)
    text = (fenced[1] if fenced else answer).strip()
    end = re.match(r"(?:[^;'\"]|'[^']*'|\"[^\"]*\")*", text)
    return (end[0] if end else text).strip()


def score(
    model: str, questions: Sequence[Question], answers: dict[str, str], processes: int | None = None
) -> Score:
    """Judge every answer; a question without an answer counts as wrong."""
    return score_queries(
        model, questions, {q.id: extract_sql(answers.get(q.id, "")) for q in questions}, answers, processes
    )


def score_queries(
    model: str,
    questions: Sequence[Question],
    queries: dict[str, str],
    answers: dict[str, str] | None = None,
    processes: int | None = None,
) -> Score:
    """Judge queries that are out of their answers already; `answers` are what is kept of them.

    `ScoringError` when two questions share an id: one would be scored for the other.
    """
    twice = [i for i, n in Counter(q.id for q in questions).items() if n > 1]
    if twice:
        raise ScoringError(
            f"id: {', '.join(twice[:5])} stands more than once in the suite: give each question its own"
        )
    verdicts = match([Pair(q.gold, queries[q.id], q.context, q.database) for q in questions], processes)
    answers = queries if answers is None else answers
    scored = [
        _scored(q, queries[q.id], answers.get(q.id, ""), v) for q, v in zip(questions, verdicts, strict=True)
    ]
    numbered = [(q, s) for q, s in zip(questions, scored, strict=True) if REFERENCE not in q.tags]
    judged = [(q, s) for q, s in numbered if s.verdict != "gold_invalid"]
    return Score(
        model=model,
        questions=len(judged),
        matched=sum(s.right for _, s in judged),
        strict=sum(s.strict for _, s in judged),
        exact=sum(s.exact for _, s in judged),
        vacuous=sum(s.vacuous for _, s in judged),
        invalid=sum(s.verdict == "invalid" for _, s in judged),
        trouble=dict(
            sorted(
                Counter(s.trouble or "other" for _, s in judged if s.verdict == "invalid").items(),
                key=lambda item: TROUBLES.index(item[0]),
            )
        ),
        not_judged=len(numbered) - len(judged),
        by_language=_parts(((language(q.question),), s) for q, s in judged),
        by_hardness=_parts(((hardness(q.gold),), s) for q, s in judged),
        by_clause=_parts((clauses(q.gold), s) for q, s in judged),
        reference={q.id: s.right for q, s in zip(questions, scored, strict=True) if REFERENCE in q.tags},
        scored=scored,
    )


def _scored(question: Question, query: str, answer: str, found: Match) -> Scored:
    # Parsing is the dearest part: only what gave the right rows can be the same query.
    return Scored(
        id=question.id,
        answer=answer,
        verdict=found.verdict,
        reason=found.reason,
        strict=found.strict,
        exact=found.matched and same_query(question.gold, query),
        vacuous=found.matched and found.vacuous,
        trouble=found.trouble,
        tags=question.tags,
        must_not_break=question.must_not_break,
    )


_ORDER = ("zh", "en", *HARDNESS, *CLAUSES)


def _parts(judged: Iterable[tuple[Sequence[str], Scored]]) -> dict[str, Part]:
    asked: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for names, s in judged:
        asked.update(names)
        right.update(names if s.right else ())
    return {name: (right[name], asked[name]) for name in sorted(asked, key=_ORDER.index)}


def table(before: Score, after: Score, reference: Score | None = None, reference_label: str = "") -> str:
    """The before/after table as text."""
    columns = [("before", before), ("after", after)] + ([(reference_label, reference)] if reference else [])
    scores = [s for _, s in columns]
    lines = [["", *(label for label, _ in columns)]]
    lines.append(["model", *(s.model for s in scores)])
    lines.append(["execution match", *(f"{s.matched}/{s.questions} ({s.accuracy:.0%})" for s in scores)])
    lines.append(["  strict", *(str(s.strict) for s in scores)])
    lines.append(["  the same query", *(str(s.exact) for s in scores)])
    lines.append(["  both empty", *(str(s.vacuous) for s in scores)])
    for part in ("by_language", "by_hardness", "by_clause"):
        for name in getattr(after, part):
            lines.append(
                [f"  {name}", *("{}/{}".format(*getattr(s, part).get(name, (0, 0))) for s in scores)]
            )
    lines.append(["SQL that does not run", *(str(s.invalid) for s in scores)])
    for name in [t for t in TROUBLES if any(t in s.trouble for s in scores)]:
        lines.append([f"  {name.replace('_', ' ')}", *(str(s.trouble.get(name, 0)) for s in scores)])
    if any(s.not_judged for s in scores):
        lines.append(["gold does not run", *(str(s.not_judged) for s in scores)])
    lines += [
        [ref, *("right" if s.reference.get(ref) else "wrong" for s in scores)] for ref in before.reference
    ]
    # One that was not asked has no numbers.
    lines = [
        [*line[:1], *(cell if s.scored or i < 2 else "–" for cell, s in zip(line[1:], scores, strict=True))]
        for i, line in enumerate(lines)
    ]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def dump(value: BaseModel) -> object:
    """A model as plain JSON values."""
    return json.loads(value.model_dump_json())


def read_predictions(file: Path) -> list[str]:
    """Predicted queries of a file: one a line, or a JSON list of queries or of objects with `result`, whose leading SELECT may be missing."""
    text = file.read_text(encoding="utf-8")
    if not text.lstrip().startswith("["):
        return text.splitlines()
    found = []
    for number, item in enumerate(json.loads(text), 1):
        query = item.get("result") if isinstance(item, dict) else item
        if not isinstance(query, str):
            raise ScoringError(
                f"{file} item {number}: {json.dumps(item, ensure_ascii=False)[:120]} is not a query, and has none under 'result'"
            )
        found.append(
            f"SELECT {query}"
            if isinstance(item, dict) and first_word(query) not in ("select", "with")
            else query
        )
    return found


def _report(found: Score) -> str:
    """What the command prints for people."""
    of = found.questions or 1
    lines = [f"total         {found.questions}"]
    lines += [
        f"{name:<13} {value} ({100 * value / of:.2f} %)"
        for name, value in (
            ("matched", found.matched),
            ("strict", found.strict),
            ("same query", found.exact),
            ("vacuous", found.vacuous),
            ("invalid", found.invalid),
        )
    ]
    lines += [f"  {name.replace('_', ' '):<19} {value}" for name, value in found.trouble.items()]
    if found.not_judged:
        lines.append(f"left out      {found.not_judged} whose gold does not run")
    for part in (found.by_language, found.by_hardness, found.by_clause):
        lines += [
            f"  {name:<19} {right}/{asked} ({100 * right / asked:.1f} %)"
            for name, (right, asked) in part.items()
        ]
    return "\n".join(lines)


def main(gold: Path, predictions: Path, databases: Path | None, as_json: bool) -> int:
    """Score a file of predictions; the exit code is 2 when the files can't be read or don't fit together."""
    try:
        if databases and not databases.is_dir():
            raise ScoringError(f"--databases: {databases} is not a folder")
        questions = [
            from_row(row, f"{number:06d}", databases) for number, row in enumerate(read_rows([gold]), 1)
        ]
        predicted = read_predictions(predictions)
        if len(questions) != len(predicted):
            raise ScoringError(
                f"{gold} has {len(questions)} rows and {predictions} {len(predicted)} predictions: one for each row is wanted, in its order"
            )
        found = score_queries(
            predictions.stem, questions, {q.id: p for q, p in zip(questions, predicted, strict=True)}
        )
    except (ScoringError, DatasetError, OSError, UnicodeError, json.JSONDecodeError) as e:
        print(e, file=sys.stderr)
        return 2
    print(found.model_dump_json(exclude={"scored"}) if as_json else _report(found))
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m sqltune.evaluation.scoring",
        description="Execution match of predicted SQL, by the semantics of the official test-suite evaluation, and strict beside it.",
    )
    parser.add_argument(
        "gold", type=Path, help="JSON lines or a JSON list; the gold under query, answer_sqlite or answer"
    )
    parser.add_argument(
        "predictions", type=Path, help="a query a line, or a JSON list of queries or of objects with result"
    )
    parser.add_argument(
        "--databases",
        type=Path,
        help="folder of <db_id>.sqlite, or <db_id>/<db_id>.sqlite; without it, databases are made from each row's context",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object in place of lines for people")
    given = parser.parse_args()
    sys.exit(main(given.gold, given.predictions, given.databases, given.json))
