"""The one who waits: for a gang to end, or for its hosts to be free."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from sqltune.records.files import Record
from ssh_gang.errors import HostError, SshGangError
from ssh_gang.hook import GangHook
from ssh_gang.model import Gang
from ssh_gang.watch import Watch


class GangTrigger(BaseTrigger):
    """Watch a gang on its hosts until it has ended; its one event is `Watch.until_the_end`'s.

    :param gang: a `Gang` as JSON.
    :param record: folder of the run's record, where logs and progress are kept; None keeps none.
    """

    def __init__(self, gang: dict[str, Any], record: str | None = None) -> None:
        super().__init__()
        self.gang = gang
        self.record = record

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "ssh_gang.trigger.GangTrigger", {"gang": self.gang, "record": self.record}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        async with GangHook(Gang.model_validate(self.gang)) as hook:
            yield TriggerEvent(
                await Watch(hook, self.log, Record(self.record) if self.record else None).until_the_end()
            )

    async def on_kill(self) -> None:
        """A user cleared, failed or succeeded the task: end this try's processes, and no other's."""
        gang = Gang.model_validate(self.gang)
        async with GangHook(gang) as hook:
            try:
                await hook.stop(gang.attempt)
                self.log.info("%s stopped on every host, no process left", gang.marker)
            except SshGangError as e:
                self.log.error("%s: the teardown will look again: %s", gang.marker, e)


class HostsFreeTrigger(BaseTrigger):
    """Wait until no other exclusive gang runs on a gang's hosts; the event is `{"free": bool, "reason": str}`.

    :param gang: the `Gang` that waits, as JSON. Nothing of it is on the hosts yet, so a kill has nothing to end.
    """

    def __init__(self, gang: dict[str, Any]) -> None:
        super().__init__()
        self.gang = gang

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "ssh_gang.trigger.HostsFreeTrigger", {"gang": self.gang}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        gang = Gang.model_validate(self.gang)
        try:
            async with asyncio.timeout(gang.limits.queue):
                while True:
                    try:
                        async with GangHook(gang) as hook:
                            await hook.wait_until_free()
                        break
                    except HostError as e:
                        self.log.warning("%s; asking again", e)
                        await asyncio.sleep(10)
        except TimeoutError:
            yield TriggerEvent(
                {
                    "free": False,
                    "reason": f"its hosts were not free for {gang.limits.queue:.0f} s (limit queue)",
                }
            )
            return
        yield TriggerEvent({"free": True, "reason": "its hosts are free"})
