"""What the alerts say of a run: looked up in Airflow and in the records, which may both be away."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqltune.alerts.message import first_lines
from sqltune.config.plan import RunPlan
from sqltune.dataset.data_check import excesses
from sqltune.environment import setting
from sqltune.evaluation.verdict import Verdict
from sqltune.records import data_checks, promotions, runs, series
from ssh_gang.model import slug

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

CAUSE = "failure_cause"
"""XCom key under which a task that fails leaves its cause. Airflow removes it when the task runs again."""

_REASONS = {
    "task_failure": "see the log of the first red task",
    "timed_out": "the run took longer than the DAG's dagrun_timeout",
    "all_tasks_deadlocked": "no task can run any more (deadlock)",
}
"""What Airflow's reasons mean, where no task has left a cause."""


def run_link(dag_id: str, run_id: str, page: str = "") -> str:
    """Return the address of a run in Airflow, from `[api] base_url`; empty where that is not set.

    Args:
        dag_id: The DAG.
        run_id: The run.
        page: A page of the run, such as `tasks/approve/required_actions`; empty: the Text-to-SQL page,
            or the run's own where that is switched off.
    """
    from airflow.sdk.configuration import conf

    base_url = conf.get("api", "base_url", fallback="") or ""
    if not base_url:
        return ""
    if not page and dag_id == "text2sql_retrain" and setting("SQLTUNE_PAGE", "tab") != "off":
        page = "plugin/text2sql"
    return f"{base_url.rstrip('/')}/dags/{dag_id}/runs/{quote(run_id)}/{page}".rstrip("/")


def failure(context: Context) -> dict[str, str]:
    """Return which task of a run failed first, and of what."""
    try:
        found = _first_cause(context)
    except Exception as e:  # Airflow does not answer: its reason is known all the same
        log.warning("the cause that a task left cannot be read: %s", e)
        found = None
    if found:
        return {"task": found["task"], "cause": found["cause"]}
    reason = str(context.get("reason") or "")
    ti = context.get("ti")
    return {"task": ti.task_id if ti else "", "cause": _REASONS.get(reason, reason)}


def cause(context: Context, at: str) -> dict[str, str]:
    """Return what a failing task leaves for the alert: its name, its cause and when it failed."""
    ti, exception = context["ti"], context.get("exception")
    where = "" if ti.map_index is None or ti.map_index < 0 else f" [{ti.map_index}]"
    text = first_lines(str(exception)) or type(exception).__name__ if exception else "see its log"
    return {"task": f"{ti.task_id}{where}", "cause": text, "at": at}


def _first_cause(context: Context) -> dict[str, str] | None:
    ti, dag = context.get("ti"), context.get("dag")
    if ti is None or dag is None:
        return None
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {})
    # A mapped task is named with its index behind it.
    failed = [
        task_id
        for task_id in dag.task_ids
        if any(s == "failed" and name.startswith(task_id) for name, s in states.items())
    ]
    pulled = [ti.xcom_pull(task_ids=task_id, key=CAUSE) for task_id in failed]
    causes = [one for found in pulled for one in (found if isinstance(found, list) else [found]) if one]
    return min(causes, key=lambda one: one["at"], default=None)


def verdict(value: Any, run_id: str) -> dict[str, str] | None:
    """Return which rules hold a candidate back; None where the gate passed it."""
    judged = Verdict.model_validate(value)
    if judged.passed:
        return None
    rules = "; ".join(f"{rule.id}: {rule.explanation}" for rule in judged.failed_rules)
    return {"rules": rules} | scores(run_id)


def scores(run_id: str) -> dict[str, str]:
    """Return a run's score before and after, and its cluster."""
    summary = runs.summary(slug(run_id))
    if summary is None:
        return {}
    both = summary.matched_before is not None and summary.matched_after is not None
    score = f"{summary.matched_before} → {summary.matched_after} / {summary.questions}" if both else ""
    return {"cluster": summary.cluster, "score": score}


def promotion(run_id: str) -> dict[str, str] | None:
    """Return what a run promoted, and what it replaced; None where it promoted nothing."""
    made = promotions.made_by(run_id)
    if made is None:
        return None
    before, after = made.lineage.get("score_before", ""), made.lineage.get("score", "")
    return {
        "version": str(made.version),
        "previous": str(made.before) if made.before is not None else "",
        "score": f"{before} → {after}" if before else after,
        "why": made.why,
        "cluster": made.cluster,
    }


def data_check(run_id: str) -> dict[str, str]:
    """Return which of the recipe's limits the dataset of a run exceeds."""
    key = slug(run_id)
    plan, check = runs.plan(key), data_checks.get(key)
    if plan is None or check is None:
        return {}
    found = RunPlan.model_validate(plan)
    messages = "; ".join(excess.message for excess in excesses(check, found.recipe.data_limits))
    return {"cause": messages, "cluster": found.cluster_name}


def overrun(deadline: Any, run_id: str) -> dict[str, str]:
    """Return a run's deadline, and how far its training has come.

    Args:
        deadline: What Airflow says of it: its `id` and its `deadline_time`.
        run_id: The run.
    """
    key = slug(run_id)
    summary = runs.summary(key)
    if summary is None:
        return {"deadline": str(deadline.get("deadline_time", ""))}
    last = series.last_iteration(key)
    progress = str(last.progress) if last else str(summary.state)
    return {
        "deadline": str(deadline.get("deadline_time", "")),
        "progress": progress,
        "cluster": summary.cluster,
    }
