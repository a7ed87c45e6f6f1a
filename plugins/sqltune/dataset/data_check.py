"""The data check for people: in a few lines, and against the recipe's limits."""

from __future__ import annotations

from dataclasses import dataclass

from sqltune.config.data_limits import DataLimits
from sqltune.node_contracts.data_check import DataCheck


@dataclass(frozen=True)
class LimitResult:
    """One limit of the recipe, and what was found."""

    limit: str
    """Field of `DataLimits`; `fields` for the fields that the rows lost, which may be none."""
    count: int
    total: int
    allowed: float
    """Share of `total` from 0 to 1."""
    message: str
    """What was found, and what was expected."""

    @property
    def exceeded(self) -> bool:
        """Whether more was found than the limit allows."""
        return self.total > 0 and self.count / self.total > self.allowed


def limit_results(check: DataCheck, limits: DataLimits) -> list[LimitResult]:
    """Every limit that applies to a revision, with what was found.

    Args:
        check: What was found in its rows.
        limits: The recipe's.
    """

    def share(limit: str, count: int, total: int, what: str) -> LimitResult:
        allowed: float = getattr(limits, limit)
        found = count / total if total else 0
        message = f"{count} of {total} {what} ({found:.1%}); {limit} is {allowed:.1%}"
        return LimitResult(limit, count, total, allowed, message)

    results = [
        share("max_invalid", check.invalid, check.rows, "rows lack the question, the context or the answer"),
        share("max_unusable", check.unusable, check.rows, "rows have an answer that does not run in SQLite"),
        share("max_contradictory", check.contradictory, check.questions, "questions have several answers"),
    ]
    if changes := check.changes:
        questions, since = changes.questions_before, f"since {changes.since[:12]}"
        gone = sorted(set(changes.fields_before) - set(check.fields))
        results = [
            share("max_lost", changes.removed, questions, f"questions are gone {since}"),
            share("max_changed", changes.changed, questions, f"questions have another answer {since}"),
            LimitResult(
                "fields",
                len(gone),
                len(changes.fields_before),
                0,
                f"no row has the field {', '.join(gone)} any more, {since}" if gone else "no field is gone",
            ),
            *results,
        ]
    return results


def excesses(check: DataCheck, limits: DataLimits) -> list[LimitResult]:
    """The limits that a revision exceeds."""
    return [result for result in limit_results(check, limits) if result.exceeded]


def summary(check: DataCheck) -> str:
    """A data check in a few lines for a log."""
    lines = [
        f"data check: {check.rows} rows, {check.invalid} incomplete, {check.unusable} do not run, "
        f"{check.contradictory} questions with several answers"
    ]
    if changes := check.changes:
        lines.append(
            f"since {changes.since[:12]}: {changes.added} questions added, {changes.removed} gone, "
            f"{changes.changed} with another answer; {changes.new_databases} databases new, "
            f"{changes.lost_databases} gone"
        )
    seen = check.overlap
    lines.append(
        f"of {seen.held_out} held-out questions {seen.same_skeleton} have a query structure that is trained "
        f"on, {seen.near_question} are nearly a training question, {seen.same_question} equal one"
    )
    return "\n".join(lines)
