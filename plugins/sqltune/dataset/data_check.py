"""The data check for people: in a few lines, and against the recipe's limits."""

from __future__ import annotations

from dataclasses import dataclass

from sqltune.config.data_limits import DataLimits
from sqltune.node_contracts.data_check import DataCheck


@dataclass(frozen=True)
class Excess:
    """A limit that is exceeded."""

    limit: str
    """Field of `DataLimits`; `fields` where the rows lost one of theirs, which has no limit."""
    message: str
    """What was found, and what was expected."""


def excesses(check: DataCheck, limits: DataLimits) -> list[Excess]:
    """The limits that a revision exceeds.

    Args:
        check: What was found in its rows.
        limits: The recipe's.
    """
    found: list[Excess] = []

    def share(limit: str, count: int, total: int, what: str) -> None:
        allowed = getattr(limits, limit)
        if total and count / total > allowed:
            found.append(
                Excess(limit, f"{count} of {total} {what} ({count / total:.1%}); {limit} is {allowed:.1%}")
            )

    changes = check.changes
    if changes:
        questions = changes.questions_before
        since = f"since {changes.since[:12]}"
        share("max_lost", changes.removed, questions, f"questions are gone {since}")
        share("max_changed", changes.changed, questions, f"questions have another answer {since}")
        if gone := sorted(set(changes.fields_before) - set(check.fields)):
            found.append(Excess("fields", f"no row has the field {', '.join(gone)} any more, {since}"))
    share("max_invalid", check.invalid, check.rows, "rows lack the question, the context or the answer")
    share("max_unusable", check.unusable, check.rows, "rows have an answer that does not run in SQLite")
    share("max_contradictory", check.contradictory, check.questions, "questions have several answers")
    return found


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
