"""A run that a person marked as failed is told from one that failed by itself or ended early."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException

from sqltune.tasks import finish
from sqltune.tasks.finish import marked_tasks


@pytest.mark.parametrize(
    ("states", "marked"),
    [
        pytest.param(
            {
                "plan": "success",
                "train": "failed",
                "reap": "upstream_failed",
                "prune": "skipped",
                "finish": None,
            },
            ["train"],
            id="marked while it trains",
        ),
        pytest.param(
            {"preflight_0": "failed", "preflight_1": "failed", "prune_0": "skipped", "prune_1": "skipped"},
            ["preflight_0", "preflight_1"],
            id="marked while mapped tasks run",
        ),
        pytest.param({"train": "failed", "prune": "upstream_failed"}, [], id="failed by itself"),
        pytest.param({"gate": "success", "promote": "skipped", "prune_0": "success"}, [], id="held back"),
        pytest.param({"plan": "success", "train": "skipped", "prune": "skipped"}, [], id="nothing new"),
        pytest.param(
            {"reference.hosted": "failed", "approve_data": "success", "train": "skipped", "prune": "skipped"},
            [],
            id="data declined, and the hosted reference failed",
        ),
        pytest.param({"train": "success", "prune_0": "failed", "prune_1": "success"}, [], id="prune failed"),
    ],
)
def test_the_tasks_that_ran_when_a_run_was_marked_as_failed(states, marked):
    assert marked_tasks(states) == marked


def test_the_message_names_what_is_to_be_cleared(monkeypatch):
    """Nothing that is cleared leads to the hosted reference, for which the gate waits."""
    states = {
        "before.evaluate": "failed",
        "reference.questions": "success",
        "reference.hosted": "failed",
        "reference.answers": "skipped",
        "prune": "skipped",
    }
    ti = SimpleNamespace(dag_id="d", run_id="r", get_task_states=lambda **_: {"r": states})
    monkeypatch.setattr(finish, "get_current_context", lambda: {"ti": ti})
    with pytest.raises(
        AirflowFailException,
        match=r"while it ran before\.evaluate; to go on from there, clear before\.evaluate, "
        r"reference\.answers, reference\.hosted, finish$",
    ):
        finish.finish()
