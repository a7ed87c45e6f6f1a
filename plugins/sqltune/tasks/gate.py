"""Task `gate`: the before/after table and the verdict."""

from __future__ import annotations

import logging
from typing import Any

from sqltune.config.plan import RunPlan
from sqltune.evaluation.gate import decide
from sqltune.evaluation.report import Column, comparison_table, run_report
from sqltune.evaluation.score import Score
from sqltune.evaluation.verdict import RecordedVerdict
from sqltune.records.files import Record, remember_trained
from sqltune.tasks.reference import reference_score

log = logging.getLogger(__name__)


def judge(
    plan: dict[str, Any], before: dict[str, Any], after: dict[str, Any], hosted: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The before/after table and the verdict. A model that is held back is a green run."""
    p = RunPlan.model_validate(plan)
    record = Record.of(p.key)
    was, now = (Score.model_validate(record.get(which)) for which in ("before", "after"))
    shown, label = reference_score(p, hosted)
    if shown:
        record.put("reference", shown.model_dump(mode="json"))
    verdict = decide(was, now, p.gate)
    recorded = RecordedVerdict.of(
        verdict, comparison_table(was, now, Column(label, shown) if shown else None)
    )
    log.info("\n%s", run_report(was, now, recorded))
    record.put("verdict", recorded.model_dump(mode="json"))
    remember_trained(p.fingerprint, p.run_id)
    return verdict.without_answers.model_dump(mode="json")
