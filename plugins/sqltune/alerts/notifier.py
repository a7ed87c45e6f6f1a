"""The notifiers that Airflow calls: they look up what happened, send it, and never raise.

| notifier | Airflow calls it | in the |
|---|---|---|
| `RunFailed` | as a DAG's `on_failure_callback` | DAG processor, once it is up |
| `HeldBack`, `Promoted` | as a task's `on_success_callback` | task's process |
| `ApprovalNeeded`, `DataDecisionNeeded` | as a notifier of the approval | task's process |
| `Overrun` | as a callback of a `DeadlineAlert` | triggerer |

`leave_cause` is the `on_failure_callback` of every task: it leaves what the DAG processor is not told.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier
from airflow.sdk.exceptions import AirflowNotFoundException

from sqltune.alerts.event import ANSWER_PAGE, Alert, Event
from sqltune.alerts.settings import CONNECTION

if TYPE_CHECKING:
    from airflow.sdk import Connection, Context
    from jinja2 import Environment

    from sqltune.alerts.delivery import Delivery

log = logging.getLogger(__name__)


def tell(event: Event, run_id: str, link: str, facts: dict[str, str]) -> bool:
    """Send an alert from a task; log what could not be delivered. It never raises.

    Without the Connection `sqltune_alerts`, nobody is told.

    Returns:
        Whether it has arrived anywhere: to send it again would send it to those again who have it.
    """
    try:
        connection = _connection()
        if connection is None:
            return False
        deliveries = _deliver(Alert(event, run_id, link, facts), connection)
        _log(deliveries)
        return not all(delivery.error for delivery in deliveries)
    except Exception as e:  # an alert that cannot be sent fails nothing
        _log_failure(event, e)
        return False


async def tell_of_loss(owner: dict[str, str], problem: str, stops: bool) -> None:
    """Tell, from the triggerer, that the loss of a training is bad; it never raises.

    Args:
        owner: The gang's owner: `dag_id`, `task_id`, `run_id`.
        problem: What was seen.
        stops: Whether the training is stopped for it.
    """
    dag_id, run_id = owner.get("dag_id", ""), owner.get("run_id", "")
    facts = {"task": owner.get("task_id", ""), "cause": problem, "action": "stop" if stops else "tell"}
    await _tell_from_the_loop(Event.LOSS, dag_id, run_id, facts)


async def _tell_from_the_loop(event: Event, dag_id: str, run_id: str, facts: dict[str, str]) -> None:
    from airflow.providers.common.compat.connection import get_async_connection

    from sqltune.alerts.facts import run_link

    try:
        connection = await get_async_connection(CONNECTION)
        alert = Alert(event, run_id, run_link(dag_id, run_id), facts)
        _log(await asyncio.to_thread(_deliver, alert, connection))
    except AirflowNotFoundException:
        return
    except Exception as e:
        _log_failure(event, e)


def leave_cause(context: Context) -> None:
    """Leave a failing task's cause for `RunFailed`; the `on_failure_callback` of a task."""
    try:
        from sqltune.alerts import facts

        left = facts.cause(context, datetime.now(UTC).isoformat())
        context["ti"].xcom_push(key=facts.CAUSE, value=left)
    except Exception as e:
        log.warning("the alert will not know this cause: %s", e)


class Notifier(BaseNotifier):
    """Tells of one event: a subclass says of which, and what is known of it."""

    event: Event

    def facts(self, context: Context) -> dict[str, str] | None:
        """Return what the message says; None: there is nothing to tell."""
        raise NotImplementedError

    def link(self, context: Context) -> str:
        """Return the address that the message leads to."""
        from sqltune.alerts.facts import run_link

        return run_link(*_run(context))

    def render_template_fields(self, context: Context, jinja_env: Environment | None = None) -> None:
        """Do nothing: no field is a template, and a failure here would be raised; called by Airflow."""

    def notify(self, context: Context) -> None:
        """Look up what happened, and send it; called by Airflow, and never raises."""
        try:
            connection = _connection()
            if connection is not None:
                _log(self._send(context, connection))
        except Exception as e:
            _log_failure(self.event, e)

    async def async_notify(self, context: Context) -> None:
        """Do the same in the triggerer, whose loop nothing may block."""
        from airflow.providers.common.compat.connection import get_async_connection

        try:
            connection = await get_async_connection(CONNECTION)
            _log(await asyncio.to_thread(self._send, context, connection))
        except AirflowNotFoundException:
            return
        except Exception as e:
            _log_failure(self.event, e)

    def _send(self, context: Context, connection: Connection) -> list[Delivery]:
        try:
            facts = self.facts(context)
        except Exception as e:
            # The records do not answer, say: that something happened is worth telling all the same.
            log.warning("what happened is not known in detail: %s", e)
            facts = {}
        if facts is None:
            return []
        return _deliver(Alert(self.event, _run(context)[1], self.link(context), facts), connection)


class RunFailed(Notifier):
    """A run has failed: which task, and of what."""

    event = Event.FAILURE

    def facts(self, context: Context) -> dict[str, str]:
        """Return the task that failed first, and its cause."""
        from sqltune.alerts import facts

        return facts.failure(context)


class HeldBack(Notifier):
    """The gate holds a candidate back."""

    event = Event.HELD_BACK

    def facts(self, context: Context) -> dict[str, str] | None:
        """Return the rules that are not met; None where all are."""
        from sqltune.alerts import facts

        ti = context["ti"]
        return facts.verdict(ti.xcom_pull(task_ids=ti.task_id), ti.run_id)


class Promoted(Notifier):
    """Another version is served."""

    event = Event.PROMOTED

    def facts(self, context: Context) -> dict[str, str] | None:
        """Return the version, its score, and what it replaces."""
        from sqltune.alerts import facts

        return facts.promotion(context["ti"].run_id)


class ApprovalNeeded(Notifier):
    """A run waits for a person's answer."""

    event = Event.APPROVAL

    def facts(self, context: Context) -> dict[str, str]:
        """Return the scores that the person is to judge by."""
        from sqltune.alerts import facts

        return facts.scores(context["ti"].run_id)

    def link(self, context: Context) -> str:
        """Return the page with the table and the two buttons."""
        from sqltune.alerts.facts import run_link

        ti = context["ti"]
        return run_link(ti.dag_id, ti.run_id, f"tasks/{ti.task_id}/{ANSWER_PAGE}")


class DataDecisionNeeded(ApprovalNeeded):
    """A dataset exceeds limits of the recipe, and a person decides whether to train on it."""

    event = Event.DATA_CHECK

    def facts(self, context: Context) -> dict[str, str]:
        """Return what exceeds which limit."""
        from sqltune.alerts import facts

        return facts.data_check(context["ti"].run_id)


class Overrun(Notifier):
    """A run still goes on at its deadline."""

    event = Event.OVERRUN

    def facts(self, context: Context) -> dict[str, str]:
        """Return the deadline, and how far the training has come."""
        from sqltune.alerts import facts

        return facts.overrun(dict(context).get("deadline") or {}, _run(context)[1])


def _deliver(alert: Alert, connection: Connection) -> list[Delivery]:
    from sqltune.alerts.delivery import deliver

    return deliver(alert, connection)


def _connection() -> Connection | None:
    from airflow.sdk import BaseHook

    try:
        return BaseHook.get_connection(CONNECTION)
    except AirflowNotFoundException:
        return None


def _run(context: Any) -> tuple[str, str]:
    """Id of the DAG and of the run: contexts of a task, of a DAG's callback and of a deadline differ."""
    run = context.get("dag_run")
    if isinstance(run, dict):
        return str(run["dag_id"]), str(run.get("dag_run_id") or run["run_id"])
    if context.get("ti") is not None:
        return context["ti"].dag_id, context["ti"].run_id
    return context["dag"].dag_id, context["run_id"]


def _log(deliveries: list[Delivery]) -> None:
    for delivery in deliveries:
        log.log(logging.WARNING if delivery.error else logging.INFO, "alert: %s", delivery)


def _log_failure(event: Event, error: Exception) -> None:
    from sqltune.alerts.message import without_secrets

    log.warning("alert %s is not delivered: %s", event.value, without_secrets(str(error)))
