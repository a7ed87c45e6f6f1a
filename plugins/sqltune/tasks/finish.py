"""Task `finish`: a run that a person marks as failed ends as failed."""

from __future__ import annotations

from collections.abc import Mapping

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException

FINISH = "finish"
_LAST = "prune"
_OPTIONAL = "reference."
"""Tasks that never fail a run."""


def finish() -> None:
    """Fail where a person marked the whole run as failed while it ran a task.

    Airflow 3.3 then fails the tasks that run and skips the others, but lets the teardowns run; and once they
    have ended, it takes the run for a success, as its last tasks are only skipped. A teardown that fails
    decides otherwise. Where no task ran, such as in the pause before a retry, Airflow skips them all; that
    looks the same as a run that was marked as succeeded, and ends green.

    Raises:
        AirflowFailException: Names the tasks that ran when the run was marked, and those to clear.
    """
    ti = get_current_context()["ti"]
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id])[ti.run_id]
    marked = marked_tasks(states)
    if marked:
        ran, to_clear = ", ".join(marked), ", ".join([*marked, *_cut_short(states), FINISH])
        raise AirflowFailException(
            f"the run was marked as failed while it ran {ran}; to go on from there, clear {to_clear}"
        )


def marked_tasks(states: Mapping[str, str | None]) -> list[str]:
    """Return the tasks that ran when a run was marked as failed, sorted; empty: it was not.

    Where a task fails by itself, what follows is not skipped but `upstream_failed`, and the run fails anyway.

    Args:
        states: The state of each task of the run by its name, with a mapped task's index behind it
            (`prune_0`).
    """
    ends = {state for name, state in states.items() if name.startswith(_LAST)}
    if ends != {"skipped"}:
        return []
    return sorted(
        name for name, state in states.items() if state == "failed" and not name.startswith(_OPTIONAL)
    )


def _cut_short(states: Mapping[str, str | None]) -> list[str]:
    """The optional tasks that a mark ended: the gate needs them, and they follow none of the others."""
    return sorted(
        name
        for name, state in states.items()
        if name.startswith(_OPTIONAL) and state in ("failed", "skipped")
    )
