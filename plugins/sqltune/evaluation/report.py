"""Scores and verdicts as text: the before/after table, the reference prompts, the report of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqltune.evaluation.audit.flags import REASONS
from sqltune.evaluation.diagnosis.steps import ERROR_CLASSES
from sqltune.evaluation.failures import FAILURE_CLASSES
from sqltune.evaluation.score import JudgedAnswer, Score, Tally
from sqltune.evaluation.speed import Speed
from sqltune.evaluation.verdict import RecordedVerdict

NOT_EVALUATED = "–"
"""Cell of a model that answered no question, or none in this run."""

Line = list[str]


@dataclass(frozen=True)
class Column:
    """A column of the before/after table."""

    label: str
    score: Score


def run_report(before: Score, after: Score, verdict: RecordedVerdict) -> str:
    """Return the report of a run: the table, the reference prompts, and the verdict."""
    return "\n\n".join((verdict.table, reference_prompts(before, after), str(verdict)))


def reference_prompts(before: Score, after: Score) -> str:
    """Return the reference prompts, each with both models' SQL, right or wrong, and the expected SQL."""
    candidate = {answer.id: answer for answer in after.reference_answers}
    return "\n".join(["reference prompts", *(_prompt(a, candidate[a.id]) for a in before.reference_answers)])


def _prompt(before: JudgedAnswer, after: JudgedAnswer) -> str:
    return "\n".join(
        [
            f"  {before.id}: {before.question}",
            f"    before    {_mark(before.correct)}  {_one_line(before.sql)}",
            f"    after     {_mark(after.correct)}  {_one_line(after.sql)}",
            f"    expected         {_one_line(before.expected_sql)}",
        ]
    )


def _mark(correct: bool) -> str:
    return "right" if correct else "wrong"


def _one_line(sql: str) -> str:
    return " ".join(sql.split()) or "(no SQL)"


def comparison_table(before: Score, after: Score, hosted: Column | None = None) -> str:
    """Return the before/after table.

    Args:
        before: score of the model that is served now.
        after: score of the candidate.
        hosted: the hosted reference's column, or None.
    """
    columns = [Column("before", before), Column("after", after), *([hosted] if hosted else [])]
    scores = [column.score for column in columns]
    return _aligned(
        [
            ["", *(column.label for column in columns)],
            ["model", *(score.model for score in scores)],
            *(_blanked(line, scores) for line in _numbers(scores)),
        ]
    )


def _numbers(scores: Sequence[Score]) -> list[Line]:
    """Return a line for each number; the second score decides which parts are listed."""
    return [
        ["execution match", *(f"{s.matched}/{s.questions} ({s.accuracy:.0%})" for s in scores)],
        ["  strict", *(str(s.strict) for s in scores)],
        ["  same query", *(str(s.exact) for s in scores)],
        ["  vacuous", *(str(s.vacuous) for s in scores)],
        *_unflagged(scores),
        *_tallies([s.by_language for s in scores]),
        *_tallies([s.by_hardness for s in scores]),
        *_tallies([s.by_clause for s in scores]),
        ["other rows", *(str(s.mismatched) for s in scores)],
        *_classes(ERROR_CLASSES, [s.mismatched_by_class for s in scores]),
        ["SQL that does not run", *(str(s.invalid) for s in scores)],
        *_classes(FAILURE_CLASSES, [s.invalid_by_class for s in scores]),
        *_gold_failures(scores),
        *_doubtful_golds([s.flagged for s in scores]),
        *_corrected(scores),
        *_speeds([s.speed for s in scores]),
        *_marks([s.reference_prompts for s in scores]),
    ]


def _tallies(parts: Sequence[Mapping[str, Tally]]) -> list[Line]:
    none = Tally(matched=0, evaluated=0)
    tallies = {name: [part.get(name, none) for part in parts] for name in parts[1]}
    return [[f"  {name}", *(f"{t.matched}/{t.evaluated}" for t in row)] for name, row in tallies.items()]


def _classes(classes: Sequence[str], parts: Sequence[Mapping[str, int]]) -> list[Line]:
    """Return a line for each class that occurs."""
    names = [name for name in classes if any(name in part for part in parts)]
    return [[f"  {_spaced(name)}", *(str(part.get(name, 0)) for part in parts)] for name in names]


def _gold_failures(scores: Sequence[Score]) -> list[Line]:
    counts = [s.not_judged for s in scores]
    return [["gold query does not run", *map(str, counts)]] if any(counts) else []


def _unflagged(scores: Sequence[Score]) -> list[Line]:
    if not any(s.flagged for s in scores):
        return []
    rest = [s.unflagged or Tally(matched=s.matched, evaluated=s.questions) for s in scores]
    return [["  without doubtful golds", *(f"{t.matched}/{t.evaluated} ({_share(t):.0%})" for t in rest)]]


def _share(tally: Tally) -> float:
    return tally.matched / tally.evaluated if tally.evaluated else 0.0


def _doubtful_golds(parts: Sequence[Mapping[str, int]]) -> list[Line]:
    names = [name for name in REASONS if any(name in part for part in parts)]
    return [
        [f"doubtful gold: {_spaced(name)}", *(str(part.get(name, 0)) for part in parts)] for name in names
    ]


def _corrected(scores: Sequence[Score]) -> list[Line]:
    counts = [s.corrected for s in scores]
    return [["corrected gold queries", *map(str, counts)]] if any(counts) else []


def _speeds(speeds: Sequence[Speed | None]) -> list[Line]:
    """Return how fast the models answered, if any was measured; and over how many answers."""
    if not any(speeds):
        return []
    rates = [f"{s.answers_per_second:.2f} (of {s.answers})" if s else NOT_EVALUATED for s in speeds]
    latencies = [f"{s.p95:.2f} s" if s else NOT_EVALUATED for s in speeds]
    return [["answers a second", *rates], ["  p95 latency", *latencies]]


def _marks(parts: Sequence[Mapping[str, bool]]) -> list[Line]:
    return [[name, *(_mark(part.get(name, False)) for part in parts)] for name in parts[0]]


def _blanked(line: Line, scores: Sequence[Score]) -> Line:
    """Blank the cells of a model that answered no question: its zeros are not measurements."""
    cells = zip(line[1:], scores, strict=True)
    return [line[0], *(cell if score.answers else NOT_EVALUATED for cell, score in cells)]


def _aligned(lines: Sequence[Line]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def score_report(score: Score) -> str:
    """Return one score as `sqltune score` prints it for people."""
    counts: list[tuple[str, int, Mapping[str, int]]] = [
        ("matched", score.matched, {}),
        ("strict", score.strict, {}),
        ("same query", score.exact, {}),
        ("vacuous", score.vacuous, {}),
        ("other rows", score.mismatched, score.mismatched_by_class),
        ("invalid", score.invalid, score.invalid_by_class),
    ]
    lines = [f"total         {score.questions}"]
    for name, n, by_class in counts:
        lines.append(f"{name:<13} {n} ({_percent(n, score.questions, 2)})")
        lines += [f"  {_spaced(part):<19} {times}" for part, times in by_class.items()]
    if score.not_judged:
        lines.append(f"left out      {score.not_judged} whose gold query does not run")
    if score.flagged and score.unflagged:
        rest = score.unflagged
        share = _percent(rest.matched, rest.evaluated, 2)
        lines.append(f"unflagged     {rest.matched}/{rest.evaluated} ({share}) without doubtful golds")
    lines += [f"  {_spaced(name):<23} {n}" for name, n in score.flagged.items()]
    if score.corrected:
        lines.append(f"corrected     {score.corrected} gold queries")
    for name, tally in (score.by_language | score.by_hardness | score.by_clause).items():
        share = _percent(tally.matched, tally.evaluated, 1)
        lines.append(f"  {name:<19} {tally.matched}/{tally.evaluated} ({share})")
    return "\n".join(lines)


def _percent(part: int, whole: int, decimals: int) -> str:
    return f"{100 * part / (whole or 1):.{decimals}f} %"


def _spaced(name: str) -> str:
    return name.replace("_", " ")
