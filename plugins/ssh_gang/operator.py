"""The one who decides: operators that start a gang, defer while it runs, and judge it by evidence."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.bases.operator import TriggerFailureReason

from sqltune.config.base import digest
from sqltune.config.plan import RunPlan
from sqltune.node import masked
from sqltune.records.files import Record, installation
from ssh_gang import commands
from ssh_gang.errors import GangError, HostsBusy
from ssh_gang.hook import GangHook
from ssh_gang.model import Gang, Member, gang_name
from ssh_gang.resume import Decision
from ssh_gang.trigger import GangTrigger, HostsFreeTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context


log = logging.getLogger(__name__)

UNWATCHED = 600.0
"""Seconds beyond its own limits after which a wait is ended by Airflow's scheduler: nobody watches it then."""


class GangJobOperator(BaseOperator):
    """Run one job on several hosts at once: all start or none, the first failure ends all, no worker slot is held meanwhile.

    :param plan: the `RunPlan` as JSON.

    A subclass gives the members and judges the end. The gang is named after DAG, task and run, so a retry finds what the
    last try left: it watches ranks that run, judges ranks that ended well, and starts again where they did not.
    """

    template_fields: Sequence[str] = ("plan",)
    progress = False
    """Whether its log tells of steps: the first_step and stall limits apply."""
    exclusive = False
    """Whether it wants its hosts for itself."""

    def __init__(self, *, plan: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self._gang: Gang | None = None

    def members(self, plan: RunPlan, attempt: str) -> list[Member]:
        """What runs on each host."""
        raise NotImplementedError

    def judge(self, plan: RunPlan, gang: Gang, event: dict[str, Any], output: str) -> Any:
        """The task's XCom, from evidence; `GangError` where it is missing. `output` is the end of the first member's log."""
        raise NotImplementedError

    async def prepare(self, plan: RunPlan, gang: Gang) -> Gang:
        """The gang that is started, when nothing is there to reconnect to and every process of an earlier try is gone."""
        return gang

    async def after_failure(self, plan: RunPlan) -> str:
        """What the error says beside the reason, such as where a retry goes on."""
        return ""

    def gang(self, plan: RunPlan, context: Context, attempt: str) -> Gang:
        """The gang of this task; its name does not hold the try."""
        ti = context["ti"]
        return Gang(
            name=gang_name(ti.dag_id, ti.task_id, ti.run_id, installation()),
            attempt=attempt,
            root=f"{plan.cluster.work_dir}/gangs",
            # The id of a try is a UUIDv7: its first 48 bits are the moment Airflow made it, by one clock for all tries, Clears included.
            fencing_token=ti.id.int >> 80,
            # Airflow raises max_tries when a person clears the task, and leaves it when it tries again by itself.
            generation=ti.max_tries,
            spec_hash=digest(self.plan),
            exclusive=self.exclusive,
            owner={
                "dag_id": ti.dag_id,
                "task_id": ti.task_id,
                "run_id": ti.run_id,
                "airflow": installation(),
            },
            members=self.members(plan, attempt),
            limits=plan.cluster.limits,
            progress=self.progress,
        )

    def execute(self, context: Context) -> None:
        plan = RunPlan.model_validate(self.plan)
        attempt = f"try{context['ti'].try_number}-{uuid.uuid4().hex[:8]}"
        self._gang = gang = self.gang(plan, context, attempt)
        for m in gang.members:
            self.log.info(
                "[%s] environment: %s", m.host, " ".join(f"{k}={v}" for k, v in masked(m.env).items())
            )
        try:
            decision, self._gang = asyncio.run(self._launch(plan, gang))
        except HostsBusy as e:
            self.log.info("%s; waiting for it to leave, without a worker slot", e)
            wait = timedelta(seconds=gang.limits.queue + UNWATCHED)
            self.defer(
                trigger=HostsFreeTrigger(gang.model_dump(mode="json")),
                method_name="execute_when_free",
                timeout=wait,
            )
        self.log.info(
            "%s: %s on %s", self._gang.marker, decision.value, ", ".join(m.host for m in gang.members)
        )
        for m in self._gang.members:
            self.log.info("[%s] command, in %s: %s", m.host, m.cwd, commands.command_line(m))
        trigger = GangTrigger(self._gang.model_dump(mode="json"), str(Record.of(plan.key).folder))
        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            timeout=timedelta(seconds=gang.limits.total + UNWATCHED),
        )

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Airflow's way back from a deferral. Where that ran out of time no trigger ends the ranks: this does.

        A trigger that failed is another matter: its ranks go on, and the retry watches them.
        """
        if (next_kwargs or {}).get("error") == TriggerFailureReason.TRIGGER_TIMEOUT:
            gang = self.gang(RunPlan.model_validate(self.plan), context, "timeout")
            self.log.error("%s: not done in time, and no trigger said so; ending every try of it", gang.name)
            asyncio.run(self._stop(gang, None))
        return super().resume_execution(next_method, next_kwargs, context)

    def execute_when_free(self, context: Context, event: dict[str, Any]) -> None:
        """The hosts are free, or were not in time."""
        if not event["free"]:
            raise GangError(event["reason"])
        self.execute(context)

    async def _launch(self, plan: RunPlan, gang: Gang) -> tuple[Decision, Gang]:
        async with GangHook(gang) as hook:
            return await hook.launch(lambda g: self.prepare(plan, g))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        plan = RunPlan.model_validate(self.plan)
        gang = self.gang(plan, context, event["attempt"])
        if not event["ok"]:
            raise GangError(self._what_happened(event, asyncio.run(self.after_failure(plan))))
        output = asyncio.run(self._output(gang))
        try:
            return self.judge(plan, gang, event, output)
        except GangError:
            # Ended with 0 and did not do its work: the next try starts it again.
            asyncio.run(self._refuse(gang))
            raise

    @staticmethod
    def _what_happened(event: dict[str, Any], beside: str) -> str:
        """The reason, where a retry goes on, the first errors, and the last lines of who failed first."""
        lines = [
            event["reason"],
            *filter(None, [beside]),
            *(f"first error: {e}" for e in event["first_errors"]),
        ]
        if event["failed"]:
            who = event["failed"] if event["rank"] is None else f"{event['failed']} rank {event['rank']}"
            lines += [f"--- last lines of {who} ---", event["tail"]]
        return "\n".join(lines)

    async def _output(self, gang: Gang) -> str:
        """The end of the first member's log, as evidence."""
        async with GangHook(gang) as hook:
            return await hook.tail(gang.members[0], lines=200)

    async def _refuse(self, gang: Gang) -> None:
        async with GangHook(gang) as hook:
            await hook.refuse()

    def on_kill(self) -> None:
        """Killed while submitting: nothing of this try may stay behind."""
        if self._gang is not None:
            asyncio.run(self._stop(self._gang, self._gang.attempt))

    async def _stop(self, gang: Gang, attempt: str | None) -> None:
        async with GangHook(gang) as hook:
            await hook.stop(attempt)
