"""Verdicts: the gate's decision on a run, rule by rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select

from sqltune.records import database
from sqltune.records.base import Json
from sqltune.records.models import RuleResult, Verdict
from sqltune.records.runs import number, touch
from sqltune.records.types import now


@dataclass(frozen=True)
class RuleRecord:
    """One rule and its result."""

    passed: bool
    rule: Json
    """`Rule`."""


@dataclass(frozen=True)
class VerdictRecord:
    """The gate's decision."""

    passed: bool
    table: str
    """The before/after table as text."""
    decision: Json
    """`Decision` without its rules."""
    rules: list[RuleRecord]
    at: datetime

    @property
    def document(self) -> Json:
        """`RecordedVerdict` as JSON."""
        rules = [rule.rule for rule in self.rules]
        return self.decision | {"passed": self.passed, "table": self.table, "rules": rules}


def put(run_key: str, passed: bool, table: str, decision: Json, rules: Sequence[Json]) -> None:
    """Record a verdict; a second try of the task replaces it.

    Args:
        run_key: The run that was judged.
        passed: Whether the candidate may be served.
        table: The before/after table as text.
        decision: `Decision` without its rules.
        rules: Each `Rule`; its field `passed` says whether it was kept.
    """
    with database.writing() as session:
        run = number(session, run_key)
        row = {"run_id": run, "passed": passed, "table": table, "decision": decision, "at": now()}
        database.upsert(session, Verdict, [row], keys=["run_id"])
        session.execute(delete(RuleResult).where(RuleResult.run_id == run))
        rows = [
            {"run_id": run, "position": position, "passed": rule["passed"], "rule": rule}
            for position, rule in enumerate(rules)
        ]
        database.upsert(session, RuleResult, rows, keys=["run_id", "position"])
        touch(session, run)


def get(run_key: str) -> VerdictRecord | None:
    """Return a run's verdict, or None."""
    with database.reading() as session:
        run = number(session, run_key)
        row = session.get(Verdict, run)
        if row is None:
            return None
        rules = session.scalars(
            select(RuleResult).where(RuleResult.run_id == run).order_by(RuleResult.position)
        )
        return VerdictRecord(
            passed=row.passed,
            table=row.table,
            decision=row.decision,
            rules=[RuleRecord(passed=rule.passed, rule=rule.rule) for rule in rules],
            at=row.at,
        )
