"""Backfills of the real DAG in an Airflow database of its own; run as a script, it prints what it saw.

Airflow's functions are those that its REST API and its command line call, and the scheduler itself.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.models.backfill import Backfill, ReprocessBehavior, _create_backfill, _do_dry_run
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.serialized_dag import SerializedDagModel
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from sqlalchemy import select, update

from sqltune.records import revisions, runs, verdicts
from sqltune.records.revisions import Commit, Feed, Reading

DAG = "text2sql_retrain"
REPO = "sqltune-lab/text2sql_zh_en"
FEED = Feed("lab", "lab_smollm2", REPO)
START = datetime(2026, 10, 1, 8, tzinfo=UTC)
FIVE_DAYS = {
    "from_date": datetime(2026, 10, 1, tzinfo=UTC),
    "to_date": datetime(2026, 10, 5, tzinfo=UTC),
}


def listed(how: ReprocessBehavior = ReprocessBehavior.NONE) -> str:
    """The first letters of the commits that a dry run lists."""
    with create_session() as session:
        infos = _do_dry_run(dag_id=DAG, reverse=False, reprocess_behavior=how, session=session, **FIVE_DAYS)
        return "".join(str(info.partition_key)[0] for info in infos)


def create(how: ReprocessBehavior = ReprocessBehavior.NONE, **options: Any) -> None:
    """Create a backfill over all days, and let its runs succeed."""
    _create_backfill(
        dag_id=DAG,
        max_active_runs=1,
        reverse=False,
        dag_run_conf={},
        triggering_user_name="test",
        reprocess_behavior=how,
        **(FIVE_DAYS | options),
    )
    with create_session() as session:
        session.execute(update(DagRun).values(state=DagRunState.SUCCESS))
        session.execute(update(Backfill).values(completed_at=datetime.now(UTC)))


def made() -> list[str]:
    """Run type, partition and run id's end of every run, in the order of creation."""
    with create_session() as session:
        found = session.scalars(select(DagRun).where(DagRun.dag_id == DAG).order_by(DagRun.id))
        return [f"{r.run_type} {r.partition_key[0]} {r.run_id.rpartition('__')[2]}" for r in found]


def following(reference: DagRun | None) -> str | None:
    """The partition that the scheduler would create next."""
    with create_session() as session:
        dag = session.scalar(SerializedDagModel.latest_item_select_object(DAG)).dag
        model = session.get(DagModel, DAG)
        model.calculate_dagrun_date_fields(dag, reference_run=reference)
        # The schedule's own query must not end the session of the scheduler, or of the dag-processor.
        assert model in session, "the schedule has closed its caller's session"
        key = model.next_dagrun_partition_key
        return key and key[0]


def started() -> list[str]:
    """The order in which the scheduler starts runs that are queued: the one that the page's queue shows."""
    now = datetime.now(UTC)
    with create_session() as session:
        session.execute(update(DagModel).values(is_paused=False))
        second = session.scalars(select(Backfill.id).order_by(Backfill.id)).all()[1]
        session.execute(
            update(DagRun)
            .where(DagRun.backfill_id == second)
            .values(state=DagRunState.QUEUED, run_after=START)
        )
        for name, hours, seen in (("new", 1, None), ("seen", 3, now), ("old", 2, None), ("later", -1, None)):
            at = now - timedelta(hours=hours)
            run = DagRun(dag_id=DAG, run_id=name, run_type="manual", state=DagRunState.QUEUED, run_after=at)
            run.last_scheduling_decision = seen
            session.add(run)
        session.flush()
        found = DagRun.get_queued_dag_runs_to_set_running(session)
        return [run.run_id.rpartition("__")[2][:4] for run in found]


def trained(letter: str, run_id: str, is_partition: bool) -> None:
    from tests.plans import run_plan

    plan = run_plan(run_id, dataset_commit=letter * 40)
    revisions.claim(FEED, letter * 40, run_id, plan.fingerprint, is_partition=is_partition, skips_older=False)
    runs.put_plan(plan)
    verdicts.put(plan.key, passed=True, table="", decision={}, rules=[])


def main() -> dict[str, Any]:
    commits = [Commit(c * 40, START + timedelta(days=n), "author", c) for n, c in enumerate("abcde")]
    # Of the same second as the one before.
    commits.append(Commit("f" * 40, commits[-1].date, "author", "f"))
    revisions.observe(FEED, Reading(commits=commits, read_from=None), "watcher")
    saw: dict[str, Any] = {"at first": listed()}
    trained("b", "by form", is_partition=False)
    saw["one was trained by the form"] = listed()
    create(to_date=datetime(2026, 10, 3, tzinfo=UTC))
    saw["runs"] = made()
    for letter in "ac":
        trained(letter, f"backfilled {letter}", is_partition=True)
    saw["after a backfill of three days"] = listed()
    saw["reprocessing"] = listed(ReprocessBehavior.COMPLETED)
    create()
    saw["runs after a second one"] = made()[2:]
    create(ReprocessBehavior.COMPLETED, to_date=datetime(2026, 10, 1, tzinfo=UTC))
    saw["runs after reprocessing a day"] = made()[5:]
    with create_session() as session:
        last = session.scalars(select(DagRun).order_by(DagRun.id.desc())).first()
    # f waits, and has a run of the second backfill.
    saw["scheduled after a backfill"] = following(last)
    commits.append(Commit("0" * 40, START + timedelta(days=9), "author", "0"))
    revisions.observe(FEED, Reading(commits=commits, read_from="f" * 40), "watcher")
    saw["scheduled for a new commit"] = following(last)
    saw["started"] = started()
    return saw


if __name__ == "__main__":
    json.dump(main(), sys.stdout)
