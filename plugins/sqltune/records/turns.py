"""A run's turn to train: it waits, without a worker slot, while another run trains the same plan.

`plan` waits for the run's turn; `train` does so again whenever it starts, because a run that was cleared may
have lost its turn meanwhile. `gate` ends it. The turn is a claim (`claims`), and what a claim is worth
depends on its owner's state in Airflow:

| the claim's owner | another run with the same plan |
|---|---|
| runs; one of its tasks may be retried | waits |
| has failed, succeeded without a verdict, or was deleted | takes the claim over |
| is queued: it was cleared, and waits for a slot | takes the claim over |
| was cleared, and plans or trains again before the claim was taken over | waits: the claim was renewed |
| plans something else since it was cleared | takes the claim, which was given up |
| has its verdict | has nothing new; if it is forced, it trains |

A run has a claim only from its task `plan` on, so an owner that is queued was cleared. Nobody may wait for
it: with `max_active_runs=1` its slot may be the one of the run that waits. When it runs again, its `plan`
or `train` waits in its turn; a `train` that was cleared then trains, whatever others have trained.

So no two runs wait for each other: a run waits only for a claim's owner that runs, and an owner waits for no
claim. At most one run trains a fingerprint, unless the records did not answer when `train` started.
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
"""How often a run looks whether the one that trains the same plan has ended."""


def wait_for_turn(plan: RunPlan, ti: RuntimeTaskInstanceProtocol) -> None:
    """Make this the run that trains the plan's fingerprint.

    Args:
        plan: The run's plan.
        ti: The task instance that is about to go on.

    Raises:
        AirflowRescheduleException: Another run trains the same plan; Airflow starts the task again later.
    """
    owner = Owner(ti.dag_id, plan.run_id)
    claim = claims.take(plan.fingerprint, owner)
    if claim.owner != owner and not _is_running(claim.owner, ti):
        log.info("run %s was to train the same plan, and does not run any more", claim.owner.run_id)
        claim = claims.take_over(claim, owner)
    if claim.owner != owner:
        log.info(
            "run %s trains the same plan (fingerprint %s); this one waits until that has ended",
            claim.owner.run_id,
            plan.fingerprint,
        )
        raise AirflowRescheduleException(datetime.now(UTC) + POLL)


def _is_running(owner: Owner, ti: RuntimeTaskInstanceProtocol) -> bool:
    return bool(ti.get_dr_count(owner.dag_id, run_ids=[owner.run_id], states=["running"]))
