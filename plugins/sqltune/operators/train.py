"""The gang of `train`: xtuner's training, and the evidence that it finished."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from sqltune import node
from sqltune.config import xtuner_config
from sqltune.config.cluster import Host
from sqltune.config.plan import RunPlan
from sqltune.operators.checkpoints import Checkpoint, candidates
from sqltune.operators.gang import PlanGangOperator
from sqltune.operators.members import rank_member
from sqltune.operators.mmengine import PROGRESS_PATTERN
from sqltune.records.files import Record
from ssh_gang import commands, transfer
from ssh_gang.errors import GangError, HostError
from ssh_gang.event import GangEvent
from ssh_gang.model import Gang, Member
from ssh_gang.ssh import bash, connected


class TrainOperator(PlanGangOperator):
    """xtuner's training, one torchrun per host.

    :param master_addr: address of the master's interface.
    :param datasets: what `download_dataset` left, one per host or one in all.
    """

    template_fields = ("plan", "master_addr", "datasets")
    progress_pattern = PROGRESS_PATTERN
    exclusive = True

    def __init__(self, *, master_addr: Any, datasets: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.master_addr = master_addr
        self.datasets = datasets

    def members(self, plan: RunPlan, attempt: str) -> list[Member]:
        config = xtuner_config.render(plan, next(iter(self.datasets))["train_path"])
        work_dir = self.work_dir(plan, attempt)
        script = [
            "-m",
            "xtuner.tools.train",
            self.config(plan, attempt),
            "--work-dir",
            work_dir,
            "--deepspeed",
            f"deepspeed_{plan.training.deepspeed}",
            "--launcher",
            "pytorch",
        ]
        run = json.dumps(
            {"fingerprint": plan.fingerprint, "plan": plan.model_dump(mode="json")},
            ensure_ascii=False,
            indent=1,
        )
        files = {f"config/{plan.recipe.xtuner_config}": config, "run.json": run}
        return [
            rank_member(plan, rank, self.master_addr, script, cwd=work_dir, files=files)
            for rank in range(len(plan.cluster.hosts))
        ]

    async def prepare(self, gang: Gang) -> Gang:
        """Go on from the latest checkpoint of an earlier try that is whole on all hosts and whose hashes are right; else from the start."""
        plan = self.run_plan
        hosts = plan.cluster.storage_hosts
        work_dir = self.work_dir(plan, gang.attempt)
        for checkpoint in await self._candidates(plan):
            folder = f"{self.work_dir(plan, checkpoint.attempt)}/{checkpoint.name}"
            wrong = await asyncio.gather(*(self._checkpoints(plan, h, "verify", folder) for h in hosts))
            bad = [f"{name} on {h.name}" for h, names in zip(hosts, wrong, strict=True) for name in names]
            if bad:
                self.log.warning(
                    "%s is damaged (%s): falling back to the one before", checkpoint, ", ".join(bad)
                )
                continue
            staged = list(
                map(
                    set,
                    await asyncio.gather(
                        *(self._checkpoints(plan, h, "stage", folder, work_dir) for h in hosts)
                    ),
                )
            )
            for host, there in zip(hosts, staged, strict=True):
                # ZeRO-1 and -2 write the model's states on rank 0's host alone; every rank reads them.
                missing = sorted(name for name in staged[0] - there if name.startswith("mp_rank_"))
                if missing:
                    await transfer.copy(hosts[0], host, f"{work_dir}/{checkpoint.name}", missing)
            self.log.info(
                "going on from iteration %d of %d: %s, hashes right on every host",
                checkpoint.step,
                checkpoint.total,
                checkpoint,
            )
            resumed = [
                m.model_copy(update={"argv": [*m.argv, "--cfg-options", "resume=True"]}) for m in gang.members
            ]
            return gang.model_copy(update={"members": resumed})
        return gang

    @staticmethod
    async def _checkpoints(plan: RunPlan, host: Host, *arguments: str) -> list[Any]:
        """What `checkpoints.py` says on a host; hashing hundreds of gigabytes may take it an hour."""
        return (await node.run_async(plan, host, "checkpoints.py", list(arguments), 3600))["value"]

    async def _candidates(self, plan: RunPlan) -> list[Checkpoint]:
        hosts = plan.cluster.storage_hosts
        found = await asyncio.gather(
            *(self._checkpoints(plan, h, "list", f"{plan.run_dir}/train") for h in hosts)
        )
        return candidates(found, plan.fingerprint, plan.cluster.world_size)

    async def after_failure(self) -> str:
        try:
            found = await self._candidates(self.run_plan)
        except HostError as e:
            return f"(its checkpoints can't be listed: {e})"
        return (
            f"a retry goes on from iteration {found[0].step}: {found[0]}"
            if found
            else "no whole checkpoint yet: a retry starts from the beginning"
        )

    @staticmethod
    def work_dir(plan: RunPlan, attempt: str) -> str:
        """Where a try's config, logs and checkpoints lie. A folder per try: a shard of an older one can't be taken for this one's."""
        return f"{plan.run_dir}/train/{attempt}"

    def config(self, plan: RunPlan, attempt: str) -> str:
        """The config that is trained with. In a folder of its own: mmengine writes what it made of it to the work folder, under the same name, without the shim."""
        return f"{self.work_dir(plan, attempt)}/config/{plan.recipe.xtuner_config}"

    def judge(self, gang: Gang, event: GangEvent, output: str) -> dict[str, Any]:
        """Exit codes are not enough: the last iteration was reached, and every rank's shard lies on its host."""
        plan, progress = self.run_plan, event.progress
        if progress is None or progress.step < progress.total:
            raise GangError(
                f"every rank ended with 0, but the last iteration seen is {progress and progress.step} of {progress and progress.total}; the log's end:\n{output[-1500:]}"
            )
        work_dir = self.work_dir(plan, gang.attempt)
        name = f"iter_{progress.step}.pth"
        shards = asyncio.run(self._shards(plan, f"{work_dir}/{name}"))
        found = sum(shards.values())
        if found != plan.cluster.world_size:
            raise GangError(
                f"{name} has {found} of {plan.cluster.world_size} shards ({', '.join(f'{h}: {n}' for h, n in shards.items())}): the checkpoint is not whole"
            )
        self.log.info(
            "%s: %d shards (%s), final loss %s, starts %.3f s apart",
            name,
            found,
            ", ".join(f"{h}: {n}" for h, n in shards.items()),
            progress.loss,
            event.launch_skew or 0,
        )
        Record.of(plan.key).put(
            "trained",
            progress.model_dump()
            | {
                "attempt": gang.attempt,
                "config_text": xtuner_config.render(plan, next(iter(self.datasets))["train_path"]),
            },
        )
        return {
            "seconds": event.seconds,
            "config": self.config(plan, gang.attempt),
            "checkpoint": f"{work_dir}/{name}",
            "steps": progress.step,
            "loss": progress.loss,
            "launch_skew": event.launch_skew,
            "launch_skew_error": event.launch_skew_error,
        }

    async def _shards(self, plan: RunPlan, checkpoint: str) -> dict[str, int]:
        """Optimizer shards on each host: every strategy leaves one per rank."""
        found = {}
        hosts = plan.cluster.storage_hosts
        for host in hosts:
            async with connected(host.name, host.conn_id) as connection:
                answer = await bash(
                    connection,
                    f"ls {commands.path(checkpoint)} 2>/dev/null | grep -c _optim_states.pt || true",
                    60,
                )
            found[host.name] = int(answer or 0)
        return found
