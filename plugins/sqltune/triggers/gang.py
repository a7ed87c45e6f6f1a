"""The one who waits: watches a gang until all ranks have ended well, or one has not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from sqltune.errors import HostError, SqltuneError
from sqltune.gangs import Gang, Member
from sqltune.hooks.gang import GangHook, now, skew
from sqltune.progress import Lines, Progress, parse_line
from sqltune.records import Record
from sqltune.remote_job import JobState

POLL = 1.0
"""Seconds between two looks."""


class GangTrigger(BaseTrigger):
    """Watch a gang on its hosts.

    :param gang: a `Gang` as JSON.
    :param record: folder of the run's record, where progress is written; None writes none.

    Its one event is `{"ok": bool, "reason": str, "failed": host or None, "tail": str, "skew": seconds, "progress": …}`.
    """

    def __init__(self, gang: dict[str, Any], record: str | None = None) -> None:
        super().__init__()
        self.gang = gang
        self.record = record

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "sqltune.triggers.gang.GangTrigger", {"gang": self.gang, "record": self.record}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        gang = Gang.model_validate(self.gang)
        async with GangHook(gang) as hook:
            yield TriggerEvent(await Watch(hook, self.log, Record(self.record) if self.record else None).until_the_end())

    async def on_kill(self) -> None:
        """A user cleared, failed or succeeded the task: end this try's processes, and no other's."""
        gang = Gang.model_validate(self.gang)
        async with GangHook(gang) as hook:
            try:
                await hook.stop(gang.attempt)
                self.log.info("%s stopped on every host, no process left", gang.marker)
            except SqltuneError as e:
                self.log.error("%s: the teardown will look again: %s", gang.marker, e)


class Watch:
    """What is known of a gang while it is watched."""

    def __init__(self, hook: GangHook, log: Any, record: Record | None) -> None:
        self.hook, self.log, self.record = hook, log, record
        self.limits = hook.gang.limits
        self.states: dict[str, JobState] = {}
        self.taken: dict[str, int | None] = {m.host: None for m in hook.gang.members}
        self.lines = {m.host: Lines() for m in hook.gang.members}
        self.answered = {m.host: now() for m in hook.gang.members}
        self.began = self.progressed = now()
        # A watcher that takes over does not get the lines again that were delivered: what they said is in the record.
        last = (record.last("progress") if record else None) or {}
        self.progress = Progress.model_validate(last["progress"]) if last.get("attempt") == hook.gang.attempt else None

    async def until_the_end(self) -> dict[str, Any]:
        """Look until all have ended well, or there is a reason to end the gang; the event's payload."""
        while True:
            await asyncio.gather(*(self._look(m) for m in self.hook.gang.members))
            if self.record:
                self.record.put("hosts", {h: s.how_it_ended if s.is_terminal or s.is_lost else "running" for h, s in self.states.items()})
            reason, failed = self._trouble()
            if reason:
                return await self._give_up(reason, failed)
            if len(self.states) == len(self.taken) and all(s.succeeded and self._read_whole(h) for h, s in self.states.items()):
                # Once more, to confirm the last bytes: who takes over does not tell them again.
                await asyncio.gather(*(self._look(m) for m in self.hook.gang.members))
                return self._event(ok=True, reason="every rank ended with exit code 0")
            await asyncio.sleep(POLL)

    def _read_whole(self, host: str) -> bool:
        return (self.taken[host] or 0) >= self.states[host].size

    async def _look(self, member: Member) -> None:
        host = member.host
        try:
            state, output = await self.hook.look(member, self.taken[host])
        except (HostError, ValueError) as e:
            silent = now() - self.answered[host]
            self.log.warning("%s has not answered for %.0f s, its ranks go on: %s", host, silent, e)
            return
        self.answered[host] = now()
        if state.started and not self.states.get(host, state).started:
            self.log.info("[%s] started", host)
        self.states[host] = state
        self.taken[host] = state.taken + len(output)
        self._tell(host, self.lines[host].feed(output, final=state.is_terminal and self._read_whole(host)))

    def _tell(self, host: str, lines: list[str]) -> None:
        for line in lines:
            if not line.strip():
                continue
            self.log.info("[%s] %s", host, line)
            progress = parse_line(line)
            if progress and (self.progress is None or progress.step > self.progress.step):
                self.progress, self.progressed = progress, now()
                if self.record:
                    self.record.append("progress", {"attempt": self.hook.gang.attempt, "progress": progress.model_dump()})

    def _trouble(self) -> tuple[str | None, str | None]:
        """Why the gang has to be ended, and whose fault it is; the host that failed first is blamed."""
        bad = {h: s for h, s in self.states.items() if s.state == "absent" or s.is_lost or (s.is_terminal and not s.succeeded)}
        if bad:
            first = min(bad, key=lambda h: bad[h].ended or float("inf"))
            how = "its folder is gone" if bad[first].state == "absent" else bad[first].how_it_ended
            return f"{first}: {how}", first
        for host, at in self.answered.items():
            if now() - at > self.limits.unreachable:
                return f"{host}: not reachable for {self.limits.unreachable:.0f} s (limit unreachable)", host
        if now() - self.began > self.limits.total:
            return f"not done after {self.limits.total:.0f} s (limit total)", None
        if self.hook.gang.progress and not all(s.is_terminal for s in self.states.values()):
            limit = "stall" if self.progress else "first_step"
            if now() - self.progressed > getattr(self.limits, limit):
                return f"no progress for {getattr(self.limits, limit):.0f} s (limit {limit}), last: {self.progress or 'no iteration yet'}", None
        return None, None

    async def _give_up(self, reason: str, failed: str | None) -> dict[str, Any]:
        """End every rank everywhere, then say who failed, with the last lines of its own log."""
        self.log.error("%s; ending the gang", reason)
        try:
            await self.hook.stop(self.hook.gang.attempt)
            self.log.info("every process of %s is gone from every host", self.hook.gang.marker)
        except SqltuneError as e:
            reason = f"{reason}; and not all could be stopped: {e}"
        tail = ""
        blamed = next((m for m in self.hook.gang.members if m.host == failed), None)
        if blamed:
            try:
                tail = await self.hook.tail(blamed)
            except HostError as e:
                tail = f"(its log can't be read: {e})"
        for host, state in self.states.items():
            if host != failed and not state.is_terminal:
                self.log.info("[%s] stopped", host)
        return self._event(ok=False, reason=reason, failed=failed, tail=tail)

    def _event(self, ok: bool, reason: str, failed: str | None = None, tail: str = "") -> dict[str, Any]:
        return {
            "ok": ok, "reason": reason, "failed": failed, "tail": tail, "attempt": self.hook.gang.attempt,
            "skew": skew(list(self.states.values())) if self.states else None,
            "progress": self.progress.model_dump() if self.progress else None,
        }
