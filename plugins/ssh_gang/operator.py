"""Operators that start a gang, defer while it runs, and judge its end by evidence."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from airflow.sdk import BaseOperator
from airflow.sdk.bases.operator import TriggerFailureReason

from ssh_gang import commands
from ssh_gang.errors import GangError, HostsBusy, SshGangError
from ssh_gang.event import GangEvent, HostsFreeEvent
from ssh_gang.hook import GangHook
from ssh_gang.masking import masked
from ssh_gang.milestone import Milestone
from ssh_gang.model import Accelerator, Gang, Limits, Member, gang_name
from ssh_gang.recorder import RecorderUnavailable
from ssh_gang.resume import Decision
from ssh_gang.task_gang import map_index_of, task_gang
from ssh_gang.trigger import GangTrigger, HostsFreeTrigger, resolved
from ssh_gang.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger

    from ssh_gang.recorder import RecorderRef

T = TypeVar("T")

UNWATCHED = 600.0
"""Seconds beyond its own limits after which Airflow's scheduler ends a wait: no trigger watches it then."""


class BaseGangOperator(BaseOperator):
    """Run one job on several hosts at once: all start or none, and the first failure stops all of them.

    While the gang runs, the task is deferred and occupies no worker slot. The gang is named after DAG, task
    and run, so a retry finds what the last attempt left: it watches ranks that run, judges ranks that ended
    well, and otherwise starts again. A subclass says what runs, and may judge the end.
    """

    patience: float = 0.0
    """Seconds for which the task watches the gang itself before it defers, which costs several."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._gang: Gang | None = None
        self._cancel_launch: Callable[[], object] | None = None

    def gang(self, context: Context, attempt: str) -> Gang:
        """Return the gang of this task, for one attempt; `task_gang` fills in what Airflow decides."""
        raise NotImplementedError

    def new_attempt(self, context: Context) -> str:
        """Return a name for an attempt that is about to start; no two attempts have the same."""
        return f"try{context['ti'].try_number}-{uuid.uuid4().hex[:8]}"

    async def prepare(self, gang: Gang) -> Gang:
        """Return the gang to start; called when no process of an earlier attempt is left on any host."""
        return gang

    def judge(self, gang: Gang, event: GangEvent, output: str) -> Any:
        """Return the task's XCom, from evidence that the gang did its work.

        Args:
            gang: The gang that ended with exit code 0 on every host.
            event: How it ended.
            output: The last 200 lines of the first member's log.

        Raises:
            GangError: The evidence is missing; the next attempt starts the gang again.
        """
        raise NotImplementedError

    async def after_failure(self) -> str:
        """Return a line for the error message, such as where a retry continues; empty for none."""
        return ""

    def recorder_for(self, gang: Gang) -> RecorderRef | None:
        """Return what records the gang's log and numbers; None records nothing."""
        return None

    def execute(self, context: Context) -> Any:
        """Start the gang, or find the one that runs, and judge its end, or defer until it has ended."""
        self._gang = self.gang(context, self.new_attempt(context))
        self._log_environments(self._gang)
        try:
            milestones, ended = asyncio.run(self._launch(self._gang, context))
        except asyncio.CancelledError:
            self._record(self._gang, Milestone(kind="killed", at=time.time()))
            raise GangError(
                "the task was killed while it started the gang, or watched it: none of it is left"
            ) from None
        except HostsBusy as e:
            self.log.info("%s; waiting without a worker slot until it has ended", e)
            gang = self._gang
            trigger = HostsFreeTrigger(gang.model_dump(mode="json"))
            return self._defer(trigger, "execute_when_free", gang.limits.queue)
        except SshGangError as e:
            self._record_failure(self._gang, str(e))
            raise
        if ended is None:
            watcher = self._watcher(self._gang, milestones)
            return self._defer(watcher, "execute_complete", _longest_watch(self._gang.limits))
        return self.execute_complete(context, ended.model_dump(mode="json"))

    def execute_when_free(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on when the hosts are free; `GangError` where they were not in time."""
        hosts_free = HostsFreeEvent.model_validate(event)
        if not hosts_free.free:
            raise GangError(hosts_free.reason)
        return self.execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Judge the gang's end; `GangError` where a member failed or the evidence is missing."""
        ended = GangEvent.model_validate(event)
        gang = self.gang(context, ended.attempt)
        if not ended.ok:
            hint = asyncio.run(self.after_failure())
            self._record_failure(gang, ended.reason, hint)
            raise GangError(describe_failure(ended, hint))
        output = self._with_hook(gang, lambda hook: hook.tail(gang.members[0], lines=200))
        try:
            return self.judge(gang, ended, output)
        except GangError as e:
            # It ended with exit code 0 and did not do its work: the next attempt starts it again.
            self._with_hook(gang, lambda hook: hook.refuse())
            self._record_failure(gang, str(e))
            raise

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Come back from a deferral; called by Airflow.

        Where the deferral timed out, no trigger ends the ranks, so they are ended here. Where the trigger
        failed, the ranks go on, and the retry watches them.
        """
        if (next_kwargs or {}).get("error") == TriggerFailureReason.TRIGGER_TIMEOUT:
            gang = self.gang(context, "timeout")
            self.log.error("%s: no trigger reported its end in time; ending every attempt of it", gang.name)
            self._with_hook(gang, lambda hook: hook.stop(None))
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Stop this attempt on every host: the task was killed while it started the gang, or watched it.

        Airflow calls this from a signal's handler. Where that interrupts either, no second event loop can run
        in this thread: the launch is cancelled, and stops what it has started.
        """
        if self._cancel_launch is not None:
            self._cancel_launch()
        elif self._gang is not None:
            gang = self._gang
            self._with_hook(gang, lambda hook: hook.stop(gang.attempt))

    async def _launch(self, gang: Gang, context: Context) -> tuple[list[Milestone], GangEvent | None]:
        """Start or find the gang; return the milestones of that, and the end where it ended at once."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        # Threadsafe, because that wakes up a loop that waits.
        self._cancel_launch = partial(loop.call_soon_threadsafe, task.cancel)
        try:
            return await self._launch_and_watch(gang, context)
        finally:
            self._cancel_launch = None

    async def _launch_and_watch(
        self, gang: Gang, context: Context
    ) -> tuple[list[Milestone], GangEvent | None]:
        running: Gang | None = None
        try:
            async with GangHook(gang) as hook:
                decision, running = await hook.launch(self.prepare)
                self._gang = running
                self._log_commands(running, decision)
                found = Milestone(kind="reconnected", at=time.time(), number=context["ti"].try_number)
                milestones = hook.milestones or [found]
                return milestones, await self._watch_while_patient(hook, milestones)
        except asyncio.CancelledError:
            # Over connections of its own: those of the watch may be closed. A launch stops what it started.
            if running:
                await asyncio.shield(_stop(running))
            raise

    async def _watch_while_patient(self, hook: GangHook, milestones: Sequence[Milestone]) -> GangEvent | None:
        """Watch the gang for as long as `patience`; None where it runs on."""
        if not self.patience:
            return None
        recorder = await resolved(self.recorder_for(hook.gang))
        try:
            async with asyncio.timeout(self.patience):
                return await Watch(hook, self.log, recorder, milestones).until_the_end()
        except TimeoutError:
            return None

    def _watcher(self, gang: Gang, milestones: Sequence[Milestone]) -> GangTrigger:
        recorder = self.recorder_for(gang)
        return GangTrigger(
            gang.model_dump(mode="json"),
            recorder.model_dump(mode="json") if recorder else None,
            [milestone.model_dump(mode="json") for milestone in milestones],
        )

    def _record_failure(self, gang: Gang, reason: str, advice: str = "") -> None:
        self._record(gang, Milestone(kind="failed", at=time.time(), reason=reason, advice=advice))

    def _record(self, gang: Gang, milestone: Milestone) -> None:
        """Record why the task fails. No watcher is there to try again: the task's log has it in any case."""
        ref = self.recorder_for(gang)
        try:
            if ref:
                ref.resolve().milestone(gang.attempt, milestone)
        except (OSError, RecorderUnavailable) as e:
            self.log.warning("%s: the milestone %s is not recorded: %s", gang.marker, milestone.kind, e)

    def _defer(self, trigger: BaseTrigger, method_name: str, limit: float) -> NoReturn:
        self.defer(trigger=trigger, method_name=method_name, timeout=timedelta(seconds=limit + UNWATCHED))

    @staticmethod
    def _with_hook(gang: Gang, call: Callable[[GangHook], Coroutine[Any, Any, T]]) -> T:
        """Run one call of a hook in an event loop of its own."""

        async def run() -> T:
            async with GangHook(gang) as hook:
                return await call(hook)

        return asyncio.run(run())

    def _log_environments(self, gang: Gang) -> None:
        for member in gang.members:
            env = " ".join(f"{name}={value}" for name, value in masked(member.env).items())
            self.log.info("[%s] environment: %s", member.host, env)

    def _log_commands(self, gang: Gang, decision: Decision) -> None:
        hosts = ", ".join(member.host for member in gang.members)
        self.log.info("%s: %s on %s", gang.marker, decision.value, hosts)
        for member in gang.members:
            self.log.info("[%s] command, in %s: %s", member.host, member.cwd, commands.command_line(member))


class GangOperator(BaseGangOperator):
    """Run one command on several hosts at once.

    In the command's environment, `GANG_NNODES` is the number of hosts and `GANG_NODE_RANK` the position of
    the host in `hosts`, from 0. The task's XCom is the last line that the first host printed.

    Args:
        hosts: Airflow Connections of type ssh, one for each host; the hosts have these names in the log.
        command: The program and its arguments; no shell reads them.
        env: Environment variables on top of the login's.
        files: Files that are written to the working directory before the start: relative path to text.
        work_dir: Folder on each host; it gets the working directory `work/<gang>` and the state
            `gangs/<gang>`.
        path_prefix: Folder that is put first on PATH, such as the `bin` of a virtual environment.
        ranks: Ranks that torchrun starts on each host; 0 where the command is not torchrun.
        accelerator: Which GPUs are sampled, and must be free before the start: `cuda`, `rocm`; `cpu`: none.
        exclusive: Whether to wait, without a worker slot, until no other exclusive gang runs on the hosts.
        limits: How long the parts of the gang's life may take.
        progress_pattern: Regular expression that finds progress in a log line; see `Gang.progress_pattern`.
        recorder: What records the whole log and the numbers; None records nothing.
        installation: Names this Airflow on the hosts; set it where several Airflows share hosts.
    """

    template_fields: Sequence[str] = ("hosts", "command", "env", "files", "work_dir")

    def __init__(
        self,
        *,
        hosts: Sequence[str],
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        files: Mapping[str, str] | None = None,
        work_dir: str = "~/ssh_gang",
        path_prefix: str | None = None,
        ranks: int = 0,
        accelerator: Accelerator = "cpu",
        exclusive: bool = False,
        limits: Limits | None = None,
        progress_pattern: str | None = None,
        recorder: RecorderRef | None = None,
        installation: str = "airflow",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hosts = hosts
        self.command = command
        self.env = env
        self.files = files
        self.work_dir = work_dir
        self.path_prefix = path_prefix
        self.ranks = ranks
        self.accelerator = accelerator
        self.exclusive = exclusive
        self.limits = limits
        self.progress_pattern = progress_pattern
        self.recorder = recorder
        self.installation = installation

    def gang(self, context: Context, attempt: str) -> Gang:
        """Return the gang that runs the command on every host."""
        ti = context["ti"]
        name = gang_name(ti.dag_id, ti.task_id, ti.run_id, self.installation, map_index_of(ti))
        members = [self._member(rank, f"{self.work_dir}/work/{name}") for rank in range(len(self.hosts))]
        return task_gang(
            context,
            attempt,
            installation=self.installation,
            spec_hash=_spec_hash(members),
            root=f"{self.work_dir}/gangs",
            members=members,
            limits=self.limits or Limits(),
            exclusive=self.exclusive,
            progress_pattern=self.progress_pattern,
        )

    def judge(self, gang: Gang, event: GangEvent, output: str) -> str:
        """Return the last line that the first host printed."""
        return next((line for line in reversed(output.splitlines()) if line.strip()), "")

    def recorder_for(self, gang: Gang) -> RecorderRef | None:
        """Return the recorder that the operator was given."""
        return self.recorder

    def _member(self, node_rank: int, cwd: str) -> Member:
        position = {"GANG_NNODES": str(len(self.hosts)), "GANG_NODE_RANK": str(node_rank)}
        return Member(
            host=self.hosts[node_rank],
            conn_id=self.hosts[node_rank],
            argv=list(self.command),
            env=position | dict(self.env or {}),
            path_prefix=self.path_prefix,
            cwd=cwd,
            files=dict(self.files or {}),
            ranks=self.ranks,
            accelerator=self.accelerator,
        )


async def _stop(gang: Gang) -> None:
    """Stop this attempt on every host."""
    async with GangHook(gang) as hook:
        await hook.stop(gang.attempt)


def describe_failure(event: GangEvent, hint: str) -> str:
    """Return the error message of a failed gang.

    It has the reason, the hint, the first errors, and the last lines of the host or rank that failed first.
    """
    lines = [event.reason, hint, *(f"first error: {error}" for error in event.first_errors)]
    if event.failed_host:
        rank = "" if event.failed_rank is None else f" rank {event.failed_rank}"
        lines += [f"--- last lines of {event.failed_host}{rank} ---", event.tail]
    return "\n".join(line for line in lines if line)


def _longest_watch(limits: Limits) -> float:
    """Seconds that a gang may be watched: it runs, then its records are written."""
    return limits.total + limits.records


def _spec_hash(members: Sequence[Member]) -> str:
    """A short hash of everything that the members run."""
    return hashlib.sha256("\n".join(m.model_dump_json() for m in members).encode()).hexdigest()[:16]
