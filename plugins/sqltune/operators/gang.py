"""The one who decides: operators that start a gang, defer while it runs, and judge it by evidence."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from sqltune import remote_job, xtuner_config
from sqltune.config import RunPlan
from sqltune.errors import GangError, SqltuneError
from sqltune.gangs import Gang, Member, gang_name, member, torchrun
from sqltune.hooks.gang import GangHook
from sqltune.hooks.hosts import bash, connected
from sqltune.hooks.scripts import masked
from sqltune.records import Record
from sqltune.triggers.gang import GangTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context


class GangJobOperator(BaseOperator):
    """Run one job on several hosts at once: all start or none, the first failure ends all, no worker slot is held meanwhile.

    :param plan: the `RunPlan` as JSON.

    A subclass gives the members and judges the end. The gang is named after DAG, task and run, so a retry finds what the
    last try left: it watches ranks that run, judges ranks that ended well, and starts again where they did not.
    """

    template_fields: Sequence[str] = ("plan",)
    progress = False

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

    def gang(self, plan: RunPlan, context: Context, attempt: str) -> Gang:
        """The gang of this task; its name does not hold the try."""
        ti = context["ti"]
        return Gang(
            name=gang_name(ti.dag_id, ti.task_id, ti.run_id), attempt=attempt, root=f"{plan.cluster.work_dir}/gangs",
            # Airflow raises max_tries when a person clears the task, and leaves it when it tries again by itself.
            generation=ti.max_tries, members=self.members(plan, attempt), limits=plan.cluster.limits, progress=self.progress,
        )

    def execute(self, context: Context) -> None:
        plan = RunPlan.model_validate(self.plan)
        attempt = f"try{context['ti'].try_number}-{uuid.uuid4().hex[:8]}"
        self._gang = gang = self.gang(plan, context, attempt)
        for m in gang.members:
            self.log.info("[%s] environment: %s", m.host, " ".join(f"{k}={v}" for k, v in masked(m.env).items()))
            self.log.info("[%s] command, in %s: %s", m.host, m.cwd, remote_job.shlex.join(m.argv))
        decision, gang = asyncio.run(self._launch(gang))
        self._gang = gang
        self.log.info("%s: %s on %s", gang.marker, decision.value, ", ".join(m.host for m in gang.members))
        record = str(Record.of(plan.key).folder) if self.progress else None
        self.defer(trigger=GangTrigger(gang.model_dump(mode="json"), record), method_name="execute_complete")

    async def _launch(self, gang: Gang) -> Any:
        async with GangHook(gang) as hook:
            return await hook.launch()

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        plan = RunPlan.model_validate(self.plan)
        gang = self.gang(plan, context, event["attempt"])
        if not event["ok"]:
            raise GangError(f"{event['reason']}\n--- last lines of {event['failed'] or 'no host'} ---\n{event['tail']}")
        output, _ = asyncio.run(self._read_and_mark(gang))
        return self.judge(plan, gang, event, output)

    async def _read_and_mark(self, gang: Gang) -> tuple[str, None]:
        """The end of the first member's log. From here on the gang is judged: Clear runs it again, a retry judges it again."""
        async with GangHook(gang) as hook:
            output = await hook.tail(gang.members[0], 200)
            return output, await hook.judge()

    def on_kill(self) -> None:
        """Killed while submitting: nothing of this try may stay behind."""
        if self._gang is None:
            return
        asyncio.run(self._stop(self._gang))

    async def _stop(self, gang: Gang) -> None:
        async with GangHook(gang) as hook:
            await hook.stop(gang.attempt)


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

    def __init__(self, *, master_addr: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.master_addr = master_addr

    def members(self, plan: RunPlan, attempt: str) -> list[Member]:
        script = [f"{plan.code_dir}/all_reduce.py", plan.cluster.backend]
        return [
            member(plan, host, torchrun(plan, rank, self.master_addr, script), cwd=plan.run_dir, port_free=plan.cluster.master_port if rank == 0 else None)
            for rank, host in enumerate(plan.cluster.hosts)
        ]

    def judge(self, plan: RunPlan, gang: Gang, event: dict[str, Any], output: str) -> str:
        for line in output.splitlines():
            if line.startswith("all-reduce of"):
                if f"over {plan.cluster.world_size} ranks" not in line:
                    raise GangError(f"{line}: {plan.cluster.world_size} ranks wanted; a variable of torchrun was lost")
                return line
        raise GangError(f"every rank ended with 0, and rank 0 said nothing of a sum:\n{output[-1500:]}")


class TrainOperator(GangJobOperator):
    """xtuner's training, one torchrun per host.

    :param master_addr: address of the master's interface.
    :param datasets: what `download_dataset` left, one per host or one in all.
    """

    template_fields = ("plan", "master_addr", "datasets")
    progress = True

    def __init__(self, *, master_addr: Any, datasets: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.master_addr = master_addr
        self.datasets = datasets

    def members(self, plan: RunPlan, attempt: str) -> list[Member]:
        config = xtuner_config.render(plan, next(iter(self.datasets))["train_path"])
        work_dir = self.work_dir(plan, attempt)
        script = ["-m", "xtuner.tools.train", self.config(plan, attempt), "--work-dir", work_dir, "--deepspeed", f"deepspeed_{plan.training.deepspeed}", "--launcher", "pytorch"]
        return [
            member(
                plan, host, torchrun(plan, rank, self.master_addr, script), cwd=work_dir,
                files={f"config/{plan.recipe.xtuner_config}": config, "plan.json": plan.model_dump_json(indent=1)}, port_free=plan.cluster.master_port if rank == 0 else None,
            )
            for rank, host in enumerate(plan.cluster.hosts)
        ]

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
        return {"config": self.config(plan, gang.attempt), "checkpoint": f"{work_dir}/{name}", "steps": progress["step"], "loss": progress["loss"], "launch_skew": event["skew"]}

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

    def execute(self, context: Context) -> None:
        plan = RunPlan.model_validate(self.plan)
        if not plan.cluster.shared_storage:
            asyncio.run(self._gather(plan))
        super().execute(context)

    async def _gather(self, plan: RunPlan) -> None:
        """Stream each other host's shards to the serving host through this connection: the hosts need no keys for each other."""
        target = plan.cluster.host(plan.cluster.serving.host)
        folder = remote_job.path(self.trained["checkpoint"])
        async with connected(target.name, target.conn_id) as into:
            await bash(into, f"mkdir -p {folder}", 60)
            for host in plan.cluster.hosts:
                if host.name == target.name:
                    continue
                async with connected(host.name, host.conn_id) as source:
                    sums = await bash(source, f"cd {folder} && sha256sum *", 600)
                    async with source.create_process(f"tar cf - -C {folder} .", encoding=None) as packed:
                        await into.run(f"tar xf - -C {folder}", stdin=packed.stdout, encoding=None, check=True)
                    try:
                        await bash(into, f"cd {folder} && sha256sum --check --quiet - <<'END'\n{sums.decode()}END\n", 600)
                    except SqltuneError as e:
                        raise GangError(f"shards of {host.name} arrived damaged on {target.name}: {e}") from e
                    self.log.info("%d files from %s, hashes right", len(sums.splitlines()), host.name)

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
        idle = [member(plan, host, ["true"], cwd=plan.run_dir) for host in plan.cluster.hosts]
        gang = Gang(name=gang_name(ti.dag_id, self.task, ti.run_id), attempt="reaper", root=f"{plan.cluster.work_dir}/gangs", members=idle, limits=plan.cluster.limits)
        asyncio.run(self._reap(gang))
        self.log.info("no process of %s is left on %s", gang.name, ", ".join(h.name for h in plan.cluster.hosts))

    async def _reap(self, gang: Gang) -> None:
        async with GangHook(gang) as hook:
            await hook.stop(attempt=None)
