"""The estimate of a run: made in `plan`, and again once a host has counted the rows."""

from __future__ import annotations

import logging

from sqltune.config.plan import RunPlan
from sqltune.contracts import DownloadedDataset
from sqltune.estimate import probing, text
from sqltune.estimate.estimating import estimate
from sqltune.estimate.model import Estimate
from sqltune.estimate.tokens import count_tokens
from sqltune.records import runs, strategies, token_counts

log = logging.getLogger(__name__)


def make(plan: RunPlan) -> tuple[RunPlan, Estimate]:
    """Estimate what the training will take, logged and recorded; and choose its strategy with `probe`.

    Returns:
        The plan with the strategy chosen, or with those to be measured first; and its estimate.
    """
    chosen, made = probing.choose(plan, count_tokens(plan))
    if chosen.training.probe:
        _log_choice(chosen)
    return chosen, _recorded(chosen, made)


def refine(plan: RunPlan, prepared: DownloadedDataset) -> None:
    """Record the host's own count, which later plans use, and estimate anew where it changes something."""
    key = token_counts.key_of(plan)
    known = token_counts.find(key)
    if known and known.tokens == prepared.tokens and known.longest == prepared.longest:
        return
    token_counts.put(key, prepared.counts["train"], prepared.tokens, prepared.longest)
    _recorded(plan, estimate(plan, count_tokens(plan)))


def _log_choice(plan: RunPlan) -> None:
    rates = ", ".join(map(str, strategies.measured(plan))) or "nothing yet"
    if plan.strategies:
        log.info("probe: to be measured: %s; known: %s", ", ".join(plan.strategies), rates)
    else:
        log.info("probe: %s is used; measured here: %s", plan.training.deepspeed, rates)


def _recorded(plan: RunPlan, made: Estimate) -> Estimate:
    for line in text.lines(made):
        log.info("estimate: %s", line)
    runs.put_estimate(plan.key, made.model_dump(mode="json"))
    return made
