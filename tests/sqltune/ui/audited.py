"""A recorded run whose suite is not plain: doubtful golds, reference prompts, a gold that does not run, many
databases, ids that no address carries as they are."""

from __future__ import annotations

from sqltune.evaluation import stored
from sqltune.evaluation.audit.flags import Flags
from sqltune.evaluation.audit.gold_audit import audit
from sqltune.evaluation.gate import decide
from sqltune.evaluation.questions import Question
from sqltune.evaluation.score import Score
from sqltune.evaluation.scorer import score_answers, with_flags
from sqltune.evaluation.speed import Speed
from sqltune.evaluation.stored import AnswerSet
from sqltune.evaluation.verdict import RecordedVerdict
from sqltune.records.evaluations import Phase
from tests.plans import run_plan
from tests.sqltune.ui.recorded import record_training

ODD_IDS = ("line\nbreak", "a/b//c", "50% #1 a&b=c+d?", "中文 问题", "..", " blank ", "~tilde'(*)!")
"""Ids of questions that are right before and after."""
DATABASES = 14
"""Each with two questions; the first one is lost, the last one gained, all others are as before."""
DOUBTFUL = 6
"""Questions gained whose gold query has a date without quotes."""
NUMBERS = {
    "gained": DOUBTFUL + 2,
    "lost": 2,
    "both_right": 2 * (DATABASES - 2) + len(ODD_IDS),
    "both_wrong": 0,
}
"""What the gate counts."""
SPEED = Speed(answers=40, seconds=20.0, p50=1.0, p95=2.5, tokens=800)
"""Of the candidate; the answers of the model before were known."""
WRONG = "SELECT size + 1 FROM shop_{}"


def _questions() -> list[Question]:
    suite = [
        _question(f"shop.{i}.{column}", i, f"SELECT {column} FROM shop_{i}", f"List every {column}.")
        for i in range(DATABASES)
        for column in ("name", "size")
    ]
    suite += [
        _question(name, 1, "SELECT name, size FROM shop_1", "List names and sizes.") for name in ODD_IDS
    ]
    for day in range(1, DOUBTFUL + 1):
        date = f"2010-01-0{day}"
        gold = f"SELECT name FROM shop_2 WHERE opened > {date}"
        suite.append(_question(f"dated.{day}", 2, gold, f"{date}之后开的店有哪些？"))
    for i in range(3):
        suite.append(_question(f"ref.{i}", i, f"SELECT opened FROM shop_{i}", "When?", tags=("reference",)))
    return [*suite, _question("broken", 4, "SELECT nothing FROM shop_4", "List nothing.")]


def _question(name: str, shop: int, gold: str, text: str, tags: tuple[str, ...] = ("held_out",)) -> Question:
    return Question(
        id=name,
        question=text,
        context=f"CREATE TABLE shop_{shop} (name TEXT, size INTEGER, opened DATE)",
        gold=gold,
        tags=tags,
        must_not_break=name == "shop.5.name",
    )


def record_audited(run_id: str) -> str:
    """Record the run; its key. The gate passes it, and would not without the doubtful golds."""
    key = record_training(run_id)
    suite = _questions()
    gold = {q.id: q.gold for q in suite}
    lost = {f"shop.0.{column}": WRONG.format(0) for column in ("name", "size")}
    last = DATABASES - 1
    gained = {f"shop.{last}.{column}": WRONG.format(last) for column in ("name", "size")}
    dated = {f"dated.{day}": WRONG.format(2) for day in range(1, DOUBTFUL + 1)}
    flags = audit(suite)
    before = _record(key, "before", suite, gold | gained | dated | {"ref.0": "SELECT"}, flags)
    after = _record(key, "after", suite, gold | lost, flags, SPEED)
    limits = run_plan().gate.model_copy(update={"min_questions": 10, "min_gain": 0.02, "margin": 0.2})
    stored.put_verdict(key, RecordedVerdict.of(decide(before, after, limits), "before  after"))
    return key


def _record(
    key: str,
    phase: Phase,
    suite: list[Question],
    answers: dict[str, str],
    flags: Flags,
    speed: Speed | None = None,
) -> Score:
    kept = AnswerSet(model_hash=f"{key} {phase}", decoding="d")
    kept.store(suite, answers)
    score = with_flags(score_answers(phase, suite, kept.load(suite), processes=1), flags)
    score = score.model_copy(update={"speed": speed})
    stored.put_score(key, phase, score, suite, kept)
    return score
