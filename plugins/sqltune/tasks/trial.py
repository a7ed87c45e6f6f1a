"""Teardown `end_trial`: a candidate's trial is over, however it ended."""

from __future__ import annotations

import logging

from sqltune.config.plan import RunPlan
from sqltune.contracts import typed_task
from sqltune.serving.hook import ServingHook

log = logging.getLogger(__name__)


@typed_task
def end_trial(plan: RunPlan | None) -> None:
    """Teardown: end the candidate's trial, and stop its worker unless it was promoted."""
    if plan is None or plan.champion is None or not plan.cluster.serving.trial.is_on:
        return
    hook = ServingHook(plan, plan.recipe.serving_dtype)
    served = hook.end_trial(plan.key).serving
    log.info("[%s] no trial of this run any more. Served now: %s", hook.host.name, served or "nothing")
