"""Two runs that would train the same model, side by side under a real Airflow."""

from __future__ import annotations

import time

import pytest

from sqltune.records import runs
from sqltune.records.runs import State
from ssh_gang.model import slug
from tests.chain.conftest import DAG, FORM


@pytest.mark.chaos
def test_of_two_backfilled_dates_of_one_commit_one_trains_and_the_other_has_nothing_new(lab):
    answer = lab.airflow.call(
        "POST",
        "/backfills",
        json={
            "dag_id": DAG,
            # Both nights know the commit of 12 October as the newest one.
            "from_date": "2026-10-20T00:00:00Z",
            "to_date": "2026-10-21T03:00:00Z",
            "max_active_runs": 2,
            "dag_run_conf": FORM | {"seed": 12, "promote": "hold"},
            "reprocess_behavior": "none",
        },
    )
    assert answer.status_code == 200, answer.text
    created = backfilled(lab, "2026-10-20")
    ended = {run: lab.until_ended(run) for run in created}
    assert {state for state, _ in ended.values()} == {"success"}
    trained, waited = sorted(created, key=lambda run: ended[run][1]["train"], reverse=True)
    assert ended[trained][1]["train"] == "success"
    assert ended[waited][1]["train"] == "skipped"
    summary = runs.summary(slug(waited))
    assert summary.state is State.NOTHING_NEW
    assert summary.same_as == trained
    log = "\n".join(lab.airflow.log(DAG, waited, "plan", 1))
    assert f"run {trained} trains the same plan" in log
    assert f"nothing new: run {trained} trained and judged the same plan" in log


def backfilled(lab, since: str) -> list[str]:
    """The two runs of the backfill, once Airflow has created them."""
    deadline = time.monotonic() + 60
    while True:
        query = {"run_type": "backfill", "order_by": "logical_date", "logical_date_gte": f"{since}T00:00:00Z"}
        created = [r["dag_run_id"] for r in lab.airflow.get(f"/dags/{DAG}/dagRuns", **query)["dag_runs"]]
        if len(created) == 2:
            return created
        assert time.monotonic() < deadline, created
        time.sleep(0.5)
