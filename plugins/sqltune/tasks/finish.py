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
    """Fail where a person marked the whole run as failed.

    Airflow 3.3 then fails the tasks that run and skips the others, but lets the teardowns run; and once they
    have ended, it takes the run for a success, as its last tasks are only skipped. A teardown that fails
    decides otherwise.

    Raises:
        AirflowFailException: Names the tasks that ran when the run was marked.
    """
    ti = get_current_context()["ti"]
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id])[ti.run_id]
    marked = marked_tasks(states)
    if marked:
        raise AirflowFailException(
            f"the run was marked as failed while it ran {', '.join(marked)}; clear that to go on from there"
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
