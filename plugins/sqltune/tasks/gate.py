"""Task `gate`: the before/after table and the verdict."""

from __future__ import annotations

import logging
from typing import Any

from sqltune.config.plan import RunPlan
from sqltune.evaluation import gate, scoring
from sqltune.records.files import Record, remember_trained
from sqltune.tasks.reference import reference_score

log = logging.getLogger(__name__)


def judge(
    plan: dict[str, Any], before: dict[str, Any], after: dict[str, Any], hosted: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The before/after table and the verdict. A model that is held back is a green run."""
    p = RunPlan.model_validate(plan)
    record = Record.of(p.key)
    was, now = (scoring.Score.model_validate(record.get(which)) for which in ("before", "after"))
    shown, label = reference_score(p, hosted)
    if shown:
        record.put("reference", scoring.dump(shown))
    decision = gate.decide(was, now, p.gate)
    text = scoring.table(was, now, shown, label)
    log.info("\n%s\n\n%s", text, decision)
    record.put("verdict", decision.model_dump(mode="json") | {"table": text})
    remember_trained(p.fingerprint, p.run_id)
    return decision.model_dump(mode="json", exclude={"gained", "lost"})
