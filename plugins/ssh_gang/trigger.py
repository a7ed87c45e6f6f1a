"""Triggers that wait for a gang to end, or for its hosts to be free."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from pydantic import BaseModel

from ssh_gang.errors import HostError, SshGangError
from ssh_gang.event import HostsFreeEvent
from ssh_gang.hook import GangHook
from ssh_gang.milestone import Milestone
from ssh_gang.model import Gang
from ssh_gang.recorder import GangRecorder, RecorderRef, RecorderUnavailable
from ssh_gang.watch import Watch

RETRY_PAUSE = 10.0
"""Seconds before the hosts are queried again, when one of them did not answer."""

RECORD_TIME = 15.0
"""Seconds that recording a stop may take."""


class GangTrigger(BaseTrigger):
    """Watch a gang on its hosts until it has ended; the event's payload is a `GangEvent`.

    Args:
        gang: A `Gang` as JSON.
        recorder: A `RecorderRef` as JSON: what records the whole log and the numbers. None records nothing.
        milestones: Each `Milestone` of the launch as JSON, to be recorded with those of the watch.
    """

    def __init__(
        self,
        gang: dict[str, Any],
        recorder: dict[str, Any] | None = None,
        milestones: Sequence[dict[str, Any]] = (),
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow does not annotate it.
        self.gang = gang
        self.recorder = recorder
        self.milestones = milestones
        self._stop: asyncio.Task[None] | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the import path and the arguments from which another triggerer makes the same trigger."""
        arguments = {"gang": self.gang, "recorder": self.recorder, "milestones": list(self.milestones)}
        return "ssh_gang.trigger.GangTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch until the gang has ended."""
        recorder = await self._resolve_recorder()
        launched = [Milestone.model_validate(milestone) for milestone in self.milestones]
        async with GangHook(Gang.model_validate(self.gang)) as hook:
            ended = await Watch(hook, self.log, recorder, launched).until_the_end()
        # With the connections closed: whoever takes one event may never ask for another.
        yield _event(ended)

    async def on_kill(self) -> None:
        """Stop this attempt's processes and no other's: a user cleared, failed or succeeded the task.

        Airflow 3.3 cancels this again with each sync, once a second, until the trigger has ended. The stop,
        which takes longer, goes on, and `cleanup` waits for it.
        """
        self._stop = asyncio.create_task(self._stop_ranks())
        await self._until_stopped()

    async def cleanup(self) -> None:
        """Wait for a stop that is under way; called by Airflow when the trigger ends, for whatever reason."""
        await self._until_stopped()

    async def _until_stopped(self) -> None:
        while self._stop and not self._stop.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(self._stop)

    async def _stop_ranks(self) -> None:
        gang = Gang.model_validate(self.gang)
        if await self._is_deferred():
            self.log.warning("%s goes on: another triggerer watches it now", gang.marker)
            return
        async with GangHook(gang) as hook:
            try:
                await hook.stop(gang.attempt)
                self.log.info("%s stopped on every host; no process is left", gang.marker)
            except SshGangError as e:
                self.log.error("%s: not stopped everywhere; the teardown tries again: %s", gang.marker, e)
                return
        await self._record_stop(gang)

    async def _is_deferred(self) -> bool:
        """Whether the task still waits, so that no user has acted on it.

        Airflow 3.3 calls `on_kill` also where a triggerer was away for so long that another one has taken its
        triggers over (apache/airflow #73454). Where the next try of a Clear waits, it has stopped this one.
        """
        ti = self.task_instance
        if ti is None:
            return False
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
        from asgiref.sync import sync_to_async

        try:
            states = await sync_to_async(RuntimeTaskInstance.get_task_states)(
                dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
            )
        except Exception as e:  # of any kind: that a user acted is far likelier
            self.log.warning("the state of %s is not known: %s", ti.task_id, e)
            return False
        return "deferred" in states.get(ti.run_id, {}).values()

    async def _resolve_recorder(self) -> GangRecorder | None:
        return await resolved(RecorderRef.model_validate(self.recorder) if self.recorder else None)

    async def _record_stop(self, gang: Gang) -> None:
        """Record the stop, without trying again: the watch, whose writer would, has ended."""
        milestone = Milestone(kind="killed", at=time.time())
        try:
            async with asyncio.timeout(RECORD_TIME):
                if recorder := await self._resolve_recorder():
                    await asyncio.to_thread(recorder.milestone, gang.attempt, milestone)
        except (TimeoutError, OSError, RecorderUnavailable) as e:
            self.log.warning("%s: its stop is not recorded: %s", gang.marker, str(e) or type(e).__name__)


class HostsFreeTrigger(BaseTrigger):
    """Wait until no other exclusive gang runs on a gang's hosts; the event's payload is a `HostsFreeEvent`.

    Args:
        gang: The `Gang` that waits, as JSON. Nothing of it is on the hosts yet: a kill has nothing to stop.
    """

    def __init__(self, gang: dict[str, Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow does not annotate it.
        self.gang = gang

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the import path and the arguments from which another triggerer makes the same trigger."""
        return "ssh_gang.trigger.HostsFreeTrigger", {"gang": self.gang}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait until the hosts are free, or the limit `queue` is exceeded."""
        gang = Gang.model_validate(self.gang)
        try:
            async with asyncio.timeout(gang.limits.queue):
                await self._until_free(gang)
        except TimeoutError:
            reason = (
                f"its hosts were not free for {gang.limits.queue:.0f} s (limit queue): end the gang that "
                "runs there, or raise the limit"
            )
            yield _event(HostsFreeEvent(free=False, reason=reason))
            return
        yield _event(HostsFreeEvent(free=True, reason="its hosts are free"))

    async def _until_free(self, gang: Gang) -> None:
        while True:
            try:
                async with GangHook(gang) as hook:
                    return await hook.wait_until_free()
            except HostError as e:
                self.log.warning("%s; querying again in %.0f s", e, RETRY_PAUSE)
                await asyncio.sleep(RETRY_PAUSE)


async def resolved(ref: RecorderRef | None) -> GangRecorder | None:
    """Return the recorder that a reference names, without blocking the event loop."""
    # In a thread: what it imports, a database library perhaps, may take a second.
    return await asyncio.to_thread(ref.resolve) if ref else None


def _event(payload: BaseModel) -> TriggerEvent:
    return TriggerEvent(payload.model_dump(mode="json"))
