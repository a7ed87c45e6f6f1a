"""The one who decides: operators that start a gang, defer while it runs, and judge it by evidence."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, get_current_context
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowSkipException

from sqltune import remote_job, xtuner_config
from sqltune.config import Cluster, Host, RunPlan, digest, load
from sqltune.errors import GangError, HostError, HostsBusy
from sqltune.gang_log import split_ranks
from sqltune.gangs import Gang, Member, gang_name, member, rank_member
from sqltune.hooks import scripts, transfer
from sqltune.hooks.gang import GangHook
from sqltune.hooks.hosts import bash, connected
from sqltune.hooks.scripts import masked
from sqltune.records import Record
from sqltune.resume import Checkpoint, Decision, candidates
from sqltune.triggers.gang import GangTrigger, HostsFreeTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context


log = logging.getLogger(__name__)


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
            name=gang_name(ti.dag_id, ti.task_id, ti.run_id), attempt=attempt, root=f"{plan.cluster.work_dir}/gangs",
            # The id of a try is a UUIDv7: its first 48 bits are the moment Airflow made it, by one clock for all tries, Clears included.
            fence=ti.id.int >> 80,
            # Airflow raises max_tries when a person clears the task, and leaves it when it tries again by itself.
            generation=ti.max_tries, spec=digest(self.plan), exclusive=self.exclusive,
            owner={"dag_id": ti.dag_id, "task_id": ti.task_id, "run_id": ti.run_id, "airflow": airflow_address()},
            members=self.members(plan, attempt), limits=plan.cluster.limits, progress=self.progress,
        )

    def execute(self, context: Context) -> None:
        plan = RunPlan.model_validate(self.plan)
        attempt = f"try{context['ti'].try_number}-{uuid.uuid4().hex[:8]}"
        self._gang = gang = self.gang(plan, context, attempt)
        for m in gang.members:
            self.log.info("[%s] environment: %s", m.host, " ".join(f"{k}={v}" for k, v in masked(m.env).items()))
        try:
            decision, self._gang = asyncio.run(self._launch(plan, gang))
        except HostsBusy as e:
            self.log.info("%s; waiting for it to leave, without a worker slot", e)
            self.defer(trigger=HostsFreeTrigger(gang.model_dump(mode="json")), method_name="execute_when_free")
        self.log.info("%s: %s on %s", self._gang.marker, decision.value, ", ".join(m.host for m in gang.members))
        for m in self._gang.members:
            self.log.info("[%s] command, in %s: %s", m.host, m.cwd, remote_job.command(m))
        self.defer(trigger=GangTrigger(self._gang.model_dump(mode="json"), str(Record.of(plan.key).folder)), method_name="execute_complete")

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
        lines = [event["reason"], *filter(None, [beside]), *(f"first error: {e}" for e in event["first_errors"])]
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
            asyncio.run(self._stop(self._gang))

    async def _stop(self, gang: Gang) -> None:
        async with GangHook(gang) as hook:
            await hook.stop(gang.attempt)


def airflow_address() -> str:
    """Names this Airflow on hosts that may serve several."""
    return conf.get("api", "base_url", fallback="") or conf.get("core", "execution_api_server_url", fallback="") or "airflow"


def result_of(output: str) -> dict[str, Any]:
    """The value behind the last RESULT of a script's output; `GangError` where there is none."""
    for line in reversed(output.splitlines()):
        if line.startswith("RESULT "):
            return json.loads(line[7:])
    raise GangError(f"the script ended with 0 and left no result; its last words:\n{output[-1500:]}")


class AllReduceOperator(GangJobOperator):
    """A real all-reduce over all ranks, before anything is downloaded or loaded.

    :param master_addr: address of the master's interface.
    """

    template_fields = ("plan", "master_addr")
    exclusive = True

    def __init__(self, *, master_addr: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.master_addr = master_addr

    def members(self, plan: RunPlan, attempt: str) -> list[Member]:
        script = [f"{plan.code_dir}/all_reduce.py", plan.cluster.backend]
        return [rank_member(plan, rank, self.master_addr, script, cwd=plan.run_dir) for rank in range(len(plan.cluster.hosts))]

    def judge(self, plan: RunPlan, gang: Gang, event: dict[str, Any], output: str) -> str:
        for said in (said for line in output.splitlines() for _, said in split_ranks(line)):
            if said.startswith("all-reduce of"):
                if f"over {plan.cluster.world_size} ranks" not in said:
                    raise GangError(f"{said}: {plan.cluster.world_size} ranks wanted; a variable of torchrun was lost")
                return said
        raise GangError(f"every rank ended with 0, and rank 0 said nothing of a sum:\n{output[-1500:]}")


class TrainOperator(GangJobOperator):
    """xtuner's training, one torchrun per host.

    :param master_addr: address of the master's interface.
    :param datasets: what `download_dataset` left, one per host or one in all.
    """

    template_fields = ("plan", "master_addr", "datasets")
    progress = True
    exclusive = True

    def __init__(self, *, master_addr: Any, datasets: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.master_addr = master_addr
        self.datasets = datasets

    def members(self, plan: RunPlan, attempt: str) -> list[Member]:
        config = xtuner_config.render(plan, next(iter(self.datasets))["train_path"])
        work_dir = self.work_dir(plan, attempt)
        script = ["-m", "xtuner.tools.train", self.config(plan, attempt), "--work-dir", work_dir, "--deepspeed", f"deepspeed_{plan.training.deepspeed}", "--launcher", "pytorch"]
        run = json.dumps({"fingerprint": plan.fingerprint, "plan": plan.model_dump(mode="json")}, ensure_ascii=False, indent=1)
        files = {f"config/{plan.recipe.xtuner_config}": config, "run.json": run}
        return [rank_member(plan, rank, self.master_addr, script, cwd=work_dir, files=files) for rank in range(len(plan.cluster.hosts))]

    async def prepare(self, plan: RunPlan, gang: Gang) -> Gang:
        """Go on from the latest checkpoint of an earlier try that is whole on all hosts and whose hashes are right; else from the start."""
        hosts = plan.cluster.hosts[:1] if plan.cluster.shared_storage else plan.cluster.hosts
        work_dir = self.work_dir(plan, gang.attempt)
        for checkpoint in await self._candidates(plan):
            folder = f"{self.work_dir(plan, checkpoint.attempt)}/{checkpoint.name}"
            wrong = await asyncio.gather(*(self._checkpoints(plan, h, "verify", folder) for h in hosts))
            bad = [f"{name} on {h.name}" for h, names in zip(hosts, wrong, strict=True) for name in names]
            if bad:
                self.log.warning("%s is damaged (%s): falling back to the one before", checkpoint, ", ".join(bad))
                continue
            staged = list(map(set, await asyncio.gather(*(self._checkpoints(plan, h, "stage", folder, work_dir) for h in hosts))))
            for host, there in zip(hosts, staged, strict=True):
                # ZeRO-1 and -2 write the model's states on rank 0's host alone; every rank reads them.
                missing = sorted(name for name in staged[0] - there if name.startswith("mp_rank_"))
                if missing:
                    await transfer.copy(hosts[0], host, f"{work_dir}/{checkpoint.name}", missing)
            self.log.info("going on from iteration %d of %d: %s, hashes right on every host", checkpoint.step, checkpoint.total, checkpoint)
            resumed = [m.model_copy(update={"argv": [*m.argv, "--cfg-options", "resume=True"]}) for m in gang.members]
            return gang.model_copy(update={"members": resumed})
        return gang

    @staticmethod
    async def _checkpoints(plan: RunPlan, host: Host, *arguments: str) -> list[Any]:
        """What `checkpoints.py` says on a host; hashing hundreds of gigabytes may take it an hour."""
        return (await scripts.run_async(plan, host, "checkpoints.py", list(arguments), 3600))["value"]

    async def _candidates(self, plan: RunPlan) -> list[Checkpoint]:
        hosts = plan.cluster.hosts[:1] if plan.cluster.shared_storage else plan.cluster.hosts
        found = await asyncio.gather(*(self._checkpoints(plan, h, "list", f"{plan.run_dir}/train") for h in hosts))
        return candidates(found, plan.fingerprint, plan.cluster.world_size)

    async def after_failure(self, plan: RunPlan) -> str:
        try:
            found = await self._candidates(plan)
        except HostError as e:
            return f"(its checkpoints can't be listed: {e})"
        return f"a retry goes on from iteration {found[0].step}: {found[0]}" if found else "no whole checkpoint yet: a retry starts from the beginning"

    @staticmethod
    def work_dir(plan: RunPlan, attempt: str) -> str:
        """Where a try's config, logs and checkpoints lie. A folder per try: a shard of an older one can't be taken for this one's."""
        return f"{plan.run_dir}/train/{attempt}"

    def config(self, plan: RunPlan, attempt: str) -> str:
        """The config that is trained with. In a folder of its own: mmengine writes what it made of it to the work folder, under the same name, without the shim."""
        return f"{self.work_dir(plan, attempt)}/config/{plan.recipe.xtuner_config}"

    def judge(self, plan: RunPlan, gang: Gang, event: dict[str, Any], output: str) -> dict[str, Any]:
        """Exit codes are not enough: the last iteration was reached, and every rank's shard lies on its host."""
        progress = event["progress"]
        if not progress or progress["step"] < progress["total"]:
            raise GangError(f"every rank ended with 0, but the last iteration seen is {progress and progress['step']} of {progress and progress['total']}; the log's end:\n{output[-1500:]}")
        work_dir = self.work_dir(plan, gang.attempt)
        name = f"iter_{progress['step']}.pth"
        shards = asyncio.run(self._shards(plan, f"{work_dir}/{name}"))
        found = sum(shards.values())
        if found != plan.cluster.world_size:
            raise GangError(f"{name} has {found} of {plan.cluster.world_size} shards ({', '.join(f'{h}: {n}' for h, n in shards.items())}): the checkpoint is not whole")
        self.log.info("%s: %d shards (%s), final loss %s, starts %.3f s apart", name, found, ", ".join(f"{h}: {n}" for h, n in shards.items()), progress["loss"], event["skew"] or 0)
        return {"config": self.config(plan, gang.attempt), "checkpoint": f"{work_dir}/{name}", "steps": progress["step"], "loss": progress["loss"], "launch_skew": event["skew"], "launch_skew_error": event["skew_error"]}

    async def _shards(self, plan: RunPlan, checkpoint: str) -> dict[str, int]:
        """Optimizer shards on each host: every strategy leaves one per rank."""
        found = {}
        hosts = plan.cluster.hosts[:1] if plan.cluster.shared_storage else plan.cluster.hosts
        for host in hosts:
            async with connected(host.name, host.conn_id) as connection:
                answer = await bash(connection, f"ls {remote_job.path(checkpoint)} 2>/dev/null | grep -c _optim_states.pt || true", 60)
            found[host.name] = int(answer or 0)
        return found


class ConvertAdapterOperator(GangJobOperator):
    """Gather the checkpoint's shards on the serving host and turn them into a Hugging Face adapter.

    :param trained: what `train` left.
    """

    template_fields = ("plan", "trained")

    def __init__(self, *, trained: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.trained = trained

    async def prepare(self, plan: RunPlan, gang: Gang) -> Gang:
        """Every other host's shards to the serving host."""
        target = plan.cluster.host(plan.cluster.serving.host)
        for host in plan.cluster.hosts:
            if host != target and not plan.cluster.shared_storage:
                count = await transfer.copy(host, target, self.trained["checkpoint"])
                self.log.info("%d files from %s, hashes right", count, host.name)
        return gang

    def members(self, plan: RunPlan, attempt: str) -> list[Member]:
        host = plan.cluster.host(plan.cluster.serving.host)
        argv = ["python", f"{plan.code_dir}/convert_adapter.py", self.trained["config"], self.trained["checkpoint"], f"{plan.run_dir}/adapter", str(plan.cluster.world_size)]
        return [member(plan, host, argv, cwd=plan.run_dir)]

    def judge(self, plan: RunPlan, gang: Gang, event: dict[str, Any], output: str) -> dict[str, Any]:
        return result_of(output)


class MergeAdapterOperator(GangJobOperator):
    """Merge the adapter into the base model on the serving host; the logits of both must agree.

    :param adapter: what `convert_adapter` left.
    """

    template_fields = ("plan", "adapter")

    def __init__(self, *, adapter: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.adapter = adapter

    def members(self, plan: RunPlan, attempt: str) -> list[Member]:
        host = plan.cluster.host(plan.cluster.serving.host)
        argv = ["python", f"{plan.code_dir}/merge_adapter.py", plan.base_model, self.adapter["adapter_path"], f"{plan.run_dir}/merged"]
        return [member(plan, host, argv, cwd=plan.run_dir)]

    def judge(self, plan: RunPlan, gang: Gang, event: dict[str, Any], output: str) -> dict[str, Any]:
        return result_of(output)


class ReapGangOperator(GangJobOperator):
    """Teardown of a gang: end what is left of any try, on every host. Finds nothing to do when on_kill did its work.

    :param task: the task whose gang is looked after.
    """

    def __init__(self, *, task: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.task = task

    def execute(self, context: Context) -> None:
        if not self.plan:
            return
        plan = RunPlan.model_validate(self.plan)
        ti = context["ti"]
        gang = anybody(gang_name(ti.dag_id, self.task, ti.run_id), plan.cluster, plan.cluster.hosts)
        asyncio.run(self._reap(gang))
        self.log.info("no process of %s is left on %s", gang.name, ", ".join(h.name for h in plan.cluster.hosts))

    async def _reap(self, gang: Gang) -> None:
        async with GangHook(gang) as hook:
            await hook.stop(attempt=None)


def anybody(name: str, cluster: Cluster, hosts: Sequence[Host]) -> Gang:
    """Any try of a gang on hosts, to be stopped."""
    members = [Member(host=h.name, conn_id=h.conn_id, argv=["true"], cwd=cluster.work_dir, accelerator=cluster.accelerator) for h in hosts]
    return Gang(name=name, attempt="reaper", fence=remote_job.FOREVER, root=f"{cluster.work_dir}/gangs", members=members, limits=cluster.limits)


WANTED = frozenset({"running", "deferred", "queued", "scheduled", "restarting", "up_for_retry", "up_for_reschedule", None})
"""States of a task whose gang may run, or will be looked after by its next try."""


def reap_orphans(cluster: str) -> dict[str, list[str]]:
    """Stop gangs that no task of this Airflow wants any more, on all hosts of a cluster; the gangs stopped, by host.

    That is what a run leaves behind that was deleted, timed out or ended by hand while no triggerer lived: no teardown comes then.
    Gangs of another Airflow are left alone, and so is a host that does not answer (the next run looks again).
    """
    return asyncio.run(_reap_orphans(load("clusters", cluster)))


async def _reap_orphans(cluster: Cluster) -> dict[str, list[str]]:
    ti = get_current_context()["ti"]
    stopped: dict[str, list[str]] = {}
    unreachable = []
    for host in cluster.hosts:
        try:
            async with connected(host.name, host.conn_id, cluster.limits.connect) as connection:
                said = (await bash(connection, remote_job.living(f"{cluster.work_dir}/gangs"), 60)).decode()
        except HostError as e:
            log.warning("%s", e)
            unreachable.append(host.name)
            continue
        for line in said.splitlines():
            name, attempt, *words = line.split()
            owner = dict(word.split("=", 1) for word in words)
            if owner.get("airflow") != airflow_address():
                log.info("[%s] %s of %s is not ours", host.name, name, owner.get("airflow", "nobody"))
                continue
            states = ti.get_task_states(dag_id=owner["dag_id"], task_ids=[owner["task_id"]], run_ids=[owner["run_id"]])
            found = states.get(owner["run_id"], {})
            if owner["task_id"] in found and found[owner["task_id"]] in WANTED:
                continue
            why = f"its task is {found[owner['task_id']]}" if owner["task_id"] in found else "its run is gone"
            log.warning("[%s] %s (%s): %s; stopping it", host.name, name, attempt, why)
            async with GangHook(anybody(name, cluster, [host])) as hook:
                await hook.stop(attempt)
            stopped.setdefault(host.name, []).append(name)
    if len(unreachable) == len(cluster.hosts):
        raise AirflowSkipException("no host of this cluster can be reached from here")
    return stopped
