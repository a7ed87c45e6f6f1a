"""Task `gate`: the before/after table and the verdict."""

from __future__ import annotations

import logging

from sqltune.config.plan import RunPlan
from sqltune.contracts import HostedAnswers, typed_task
from sqltune.evaluation import stored
from sqltune.evaluation.audit.agreement import models_agree
from sqltune.evaluation.audit.flags import merged
from sqltune.evaluation.gate import decide
from sqltune.evaluation.report import comparison_table, run_report
from sqltune.evaluation.score import Score, ScoreSummary
from sqltune.evaluation.scorer import with_flags
from sqltune.evaluation.verdict import RecordedVerdict, Verdict
from sqltune.metrics import emit
from sqltune.tasks.evaluate import suite_of
from sqltune.tasks.reference import reference_score

log = logging.getLogger(__name__)


@typed_task
def judge(
    plan: RunPlan, before: ScoreSummary, after: ScoreSummary, hosted: HostedAnswers | None = None
) -> Verdict:
    """Compare both models, and decide whether the candidate may be served.

    A run whose candidate is held back ends green.

    Args:
        plan: The run plan.
        before: Score of the model that is served now. The arguments make the order; the answers are read
            from the record.
        after: Score of the candidate.
        hosted: Answers of the hosted reference, for the table only.
    """
    was, now = stored.required_score(plan.key, "before"), stored.required_score(plan.key, "after")
    flags = merged(was.flags, now.flags, models_agree(suite_of(plan), was, now))
    was, now = with_flags(was, flags), with_flags(now, flags)
    column = reference_score(plan, hosted, flags)
    verdict = decide(was, now, plan.gate)
    recorded = RecordedVerdict.of(verdict, comparison_table(was, now, column))
    log.info("\n%s", run_report(was, now, recorded))
    stored.put_verdict(plan.key, recorded)
    _emit(plan, was, now, verdict)
    return verdict.without_answers


def _emit(plan: RunPlan, before: Score, after: Score, verdict: Verdict) -> None:
    for phase, score in (("before", before), ("after", after)):
        accuracy = score.matched / score.questions if score.questions else None
        emit(plan.cluster_name, f"score.{phase}", accuracy)
        emit(plan.cluster_name, f"latency.{phase}", score.speed.p95 if score.speed else None)
    emit(plan.cluster_name, "verdict.passed" if verdict.passed else "verdict.held_back", 1)
