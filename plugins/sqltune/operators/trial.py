"""The candidate's trial on real requests, between the gate and the promotion."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from sqltune.config.plan import RunPlan

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sqltune.evaluation.verdict import Verdict
    from sqltune.node_contracts.trial import TrialReport, TrialTerms
    from sqltune.registry.versions import Version
    from sqltune.serving.hook import ServingHook

TRIAL, END_TRIAL = "trial", "end_trial"
"""Ids of the task that tries the candidate, and of the teardown that ends it."""
LOOK_EVERY = 300.0
"""Seconds between two looks at what the trial has shown."""
MARGIN = 2.0
"""Seconds after the trial's end until all that it counted can be read."""
MAX_MISSES, MISS_PAUSE = 10, 60.0
"""Looks in a row at which the host may not answer, and seconds between them: a trial may take days."""


class TrialOperator(BaseOperator):
    """Serve the candidate beside the champion, and let it answer as `serving.trial` of the cluster file says.

    It waits deferred, and looks from time to time whether the candidate fails too often already. It returns
    the verdict with one more rule, `trial`, and records that: a candidate beyond the bounds is held back as
    the gate does it, and the run goes on, green, to its end. A retry goes on with the trial that it finds.

    Args:
        plan: The `RunPlan` as JSON.
        verdict: The gate's `Verdict` as JSON.
        number: Number of the candidate's version.
    """

    template_fields = ("plan", "verdict", "number")

    def __init__(self, *, plan: Any, verdict: Any, number: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.verdict = verdict
        self.number = number

    def execute(self, context: Context) -> NoReturn:
        """Begin the trial and wait; skipped where none is needed."""
        from sqltune.records import turns

        plan, verdict = self._read()
        if reason := no_trial_needed(plan, verdict.passed):
            raise AirflowSkipException(reason)
        version = self._candidate(plan)
        turns.wait_for_turn(plan, context["ti"])
        hook, model = _servers(plan, version)
        begun = hook.begin_trial(model, version.number, version.run_id, terms(plan, version))
        self._wait(self._required(plan, begun.trial))

    def look(self, context: Context, event: Any = None, misses: int = 0) -> Any:
        """Decide, or go on waiting; called when a wait has ended.

        Args:
            context: The task's context.
            event: Of the trigger; not used.
            misses: Looks before this one, in a row, at which the host did not answer.
        """
        from sqltune.evaluation import stored, trial
        from ssh_gang.errors import HostError

        plan, verdict = self._read()
        bounds = plan.cluster.serving.trial
        hook, _ = _servers(plan, self._candidate(plan))
        try:
            found = hook.status().trial
        except HostError as e:
            if misses >= MAX_MISSES:
                raise
            self.log.warning("%s; looking again in %.0f s", e, MISS_PAUSE)
            self._defer(MISS_PAUSE, misses=misses + 1)
        report = self._required(plan, found)
        self.log.info("%s", trial.described(report, bounds))
        if report.seconds_left and not trial.fails_too_often(report, bounds):
            self._wait(report)
        rule = trial.rule(report, bounds)
        self.log.info("%s", rule)
        if recorded := stored.verdict(plan.key):
            stored.put_verdict(plan.key, recorded.with_rule(rule))
        return verdict.with_rule(rule).without_answers.model_dump(mode="json")

    def _read(self) -> tuple[RunPlan, Verdict]:
        from sqltune.evaluation.verdict import Verdict
        from sqltune.records.shared import require_database_of

        plan = RunPlan.model_validate(self.plan)
        require_database_of(plan)
        return plan, Verdict.model_validate(self.verdict)

    def _candidate(self, plan: RunPlan) -> Version:
        from sqltune.registry import versions

        version = versions.version(plan.cluster_name, self.number)
        if problem := versions.other_champion(plan, version):
            raise AirflowSkipException(problem)
        if versions.champion(plan.cluster_name) == version.champion:
            raise AirflowSkipException(f"version {version.number} is served already: there is nothing to try")
        return version

    def _required(self, plan: RunPlan, report: TrialReport | None) -> TrialReport:
        if report is not None and report.id == plan.key:
            return report
        found = "no trial" if report is None else f"a trial of {report.id}"
        # Not tried again: whoever ended it did not want the candidate to answer.
        raise AirflowFailException(
            f"{plan.cluster.serving.host}: {found} is there, expected that of {plan.key}: another promotion "
            f"or a person has ended it; clear the task {self.task_id} to begin it again"
        )

    def _wait(self, report: TrialReport) -> NoReturn:
        seconds = min(report.seconds_left + MARGIN, LOOK_EVERY)
        self.log.info("the trial ends in %.0f s; it is looked at in %.0f s", report.seconds_left, seconds)
        self._defer(seconds)

    def _defer(self, seconds: float, **kwargs: Any) -> NoReturn:
        from airflow.providers.standard.triggers.temporal import DateTimeTrigger

        self.defer(
            trigger=DateTimeTrigger(moment=datetime.now(UTC) + timedelta(seconds=seconds)),
            method_name="look",
            kwargs=kwargs,
        )


def no_trial_needed(plan: RunPlan, passed: bool) -> str | None:
    """Why the candidate is not tried; None where it is.

    Args:
        plan: The run plan.
        passed: Whether the gate passed the candidate.
    """
    if plan.cluster.serving.trial.mode == "off":
        return "no trial: the cluster file says serving.trial.mode: off"
    if plan.champion is None:
        return "no trial: no version is served that the candidate could be compared with"
    if not passed:
        return "no trial: the gate held the model back"
    if plan.promote == "hold":
        return "no trial: the form says promote: hold"
    return None


def terms(plan: RunPlan, version: Version) -> TrialTerms:
    """What the trial of a run's candidate is to be, for its serving host."""
    from sqltune.node_contracts.trial import TrialTerms

    trial = plan.cluster.serving.trial
    return TrialTerms(
        id=plan.key,
        model_hash=version.model_hash,
        mode="canary" if trial.mode == "canary" else "shadow",
        share=trial.share,
        seconds=60 * trial.minutes,
        answer_within=trial.answer_within,
    )


def _servers(plan: RunPlan, version: Version) -> tuple[ServingHook, str]:
    from sqltune.serving.weights import servers_of

    # With the version's own data type, as its promotion: that finds the same worker.
    return servers_of(plan, version, version.dtype)
