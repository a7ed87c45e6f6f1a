"""Two runs that would train the same model, side by side under a real Airflow."""

from __future__ import annotations

import pytest

from sqltune.records import runs
from sqltune.records.runs import State
from ssh_gang.model import slug
from tests.chain.conftest import DAG, FORM


@pytest.mark.chaos
def test_of_two_runs_with_one_plan_one_trains_and_the_other_has_nothing_new(lab):
    """One by backfill, which Airflow does not count towards the limit of one run, and one by the form."""
    conf = FORM | {"seed": 12, "promote": "hold"}
    answer = lab.airflow.call(
        "POST",
        "/backfills",
        json={
            "dag_id": DAG,
            "from_date": "2026-09-14T00:00:00Z",
            "to_date": "2026-09-14T00:00:00Z",
            "max_active_runs": 1,
            "dag_run_conf": conf,
            # An earlier test may have made a run of this partition.
            "reprocess_behavior": "completed",
        },
    )
    assert answer.status_code == 200, answer.text
    newest = {"run_type": "backfill", "order_by": "-id", "limit": 1}
    backfilled = lab.airflow.get(f"/dags/{DAG}/dagRuns", **newest)["dag_runs"][0]
    conf |= {"dataset_revision": backfilled["partition_key"]}
    created = [backfilled["dag_run_id"], lab.airflow.trigger(DAG, conf)]
    ended = {run: lab.until_ended(run) for run in created}
    assert {state for state, _ in ended.values()} == {"success"}
    trained, waited = sorted(created, key=lambda run: ended[run][1]["train"], reverse=True)
    assert ended[trained][1]["train"] == "success"
    assert ended[waited][1]["train"] == "skipped"
    summary = runs.summary(slug(waited))
    assert summary.state is State.NOTHING_NEW
    assert summary.same_as == trained
    log = "\n".join(lab.airflow.log(DAG, waited, "plan", 1))
    assert f"run {trained} works on cluster lab" in log
    assert f"nothing new: run {trained} trained and judged the same plan" in log
