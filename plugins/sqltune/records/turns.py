"""A run's turn on its cluster: it waits, without a worker slot, while another run works there.

`plan` waits for the run's turn, so that it is compared with the champion that the run before left. The tasks
that use the cluster, `serve`, `probe`, `train`, `trial` and `promote`, ask again whenever they start, because
a run that was cleared may have lost its turn meanwhile. The turn ends with the run. It is a claim on the
cluster (`claims`), and what a claim is worth depends on its owner's state in Airflow:

| the claim's owner | another run of the same cluster |
|---|---|
| runs; one of its tasks may be retried, or waits for a person | waits |
| has ended or was deleted | takes the claim over |
| is queued: it was cleared, and waits for a slot | takes the claim over |
| was cleared, and plans, serves or trains again before the claim was taken over | waits: it was renewed |

A run has a claim only from its task `plan` on, so an owner that is queued was cleared. Nobody may wait for
it: its slot among the DAG's active runs may be the one of the run that waits. When it runs again, its task
waits in its turn; a `train` that was cleared then trains, whatever others have trained.

So no two runs wait for each other: a run waits only for a claim's owner that runs, and an owner waits for no
claim. At most one run works on a cluster, unless the records did not answer when `train` started; then the
hosts themselves let one gang after the other have their cards.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowRescheduleException

from sqltune.records import claims
from sqltune.records.claims import Owner

if TYPE_CHECKING:
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

    from sqltune.config.plan import RunPlan

log = logging.getLogger(__name__)

POLL = timedelta(seconds=30)
"""How often a run looks whether the one before it has ended."""


def wait_for_turn(plan: RunPlan, ti: RuntimeTaskInstanceProtocol) -> None:
    """Make this the run that works on the plan's cluster.

    Args:
        plan: The run's plan.
        ti: The task instance that is about to go on.

    Raises:
        AirflowRescheduleException: Another run works there; Airflow starts the task again later.
    """
    owner = Owner(ti.dag_id, plan.run_id)
    claim = claims.take(plan.cluster_name, owner)
    if claim.owner != owner and not _is_running(claim.owner, ti):
        log.info("run %s had cluster %s before, and does not run any more", claim.owner.run_id, claim.cluster)
        claim = claims.take_over(claim, owner)
    if claim.owner != owner:
        log.info(
            "run %s works on cluster %s; this one waits until that has ended",
            claim.owner.run_id,
            claim.cluster,
        )
        raise AirflowRescheduleException(datetime.now(UTC) + POLL)


def _is_running(owner: Owner, ti: RuntimeTaskInstanceProtocol) -> bool:
    return bool(ti.get_dr_count(owner.dag_id, run_ids=[owner.run_id], states=["running"]))
