"""The gang of `train`: xtuner's training, and the evidence that it finished."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import OperationalError

from sqltune.config import xtuner_config
from sqltune.config.base import digest
from sqltune.config.cluster import Host
from sqltune.config.plan import RunPlan
from sqltune.contracts import DownloadedDataset, TrainedCheckpoint
from sqltune.node_contracts.checkpoints import SealedCheckpoint
from sqltune.operators.checkpoints import SHARD, CheckpointStore
from sqltune.operators.gang import PlanGangOperator
from sqltune.operators.members import rank_members
from sqltune.operators.mmengine import CHECKPOINT_PATTERN, PROGRESS_PATTERN
from sqltune.operators.results import end_of
from sqltune.operators.train_metrics import emit_training
from sqltune.records.measured_strategy import MeasuredStrategy, fastest
from ssh_gang import transfer
from ssh_gang.commands import path
from ssh_gang.errors import GangError, HostError
from ssh_gang.event import GangEvent
from ssh_gang.loss import LossPolicy
from ssh_gang.model import Gang, Member
from ssh_gang.progress import Progress, ProgressTracker
from ssh_gang.ssh import bash, connected

if TYPE_CHECKING:
    from airflow.sdk import Context

RESUME = ["--cfg-options", "resume=True"]
"""Resumes from the work folder's latest checkpoint; xtuner 0.2.0's own `--resume` fails without a path."""


class XtunerOperator(PlanGangOperator):
    """Run xtuner's training, one torchrun on each host.

    Args:
        master_addr: Address of the master's interface.
        datasets: The `DownloadedDataset` of each host that stores one, as JSON.
    """

    template_fields: Sequence[str] = ("plan", "master_addr", "datasets")
    options: Sequence[str] = ()
    """Further arguments of xtuner's script."""
    progress_pattern = PROGRESS_PATTERN
    exclusive = True

    def __init__(self, *, master_addr: Any, datasets: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.master_addr = master_addr
        self.datasets = datasets

    def work_dir(self, plan: RunPlan, attempt: str) -> str:
        """Return the folder of an attempt on every host."""
        raise NotImplementedError

    def execute(self, context: Context) -> Any:
        """Train in the run's turn, which a run that was cleared may have lost."""
        from sqltune.records import turns

        try:
            turns.wait_for_turn(self.run_plan, context["ti"])
        except OperationalError as e:
            # Ranks that run must be found again all the same, and `plan` has waited for this run's turn.
            self.log.warning("whether another run works on the cluster is not known (%s); going on", e.orig)
        return super().execute(context)

    def members(self, plan: RunPlan, attempt: str) -> list[Member]:
        """One torchrun on each host, with the config and what is trained beside it."""
        work_dir = self.work_dir(plan, attempt)
        script = [
            "-m",
            "xtuner.tools.train",
            self._config_path(plan, attempt),
            "--work-dir",
            work_dir,
            "--deepspeed",
            f"deepspeed_{plan.training.deepspeed}",
            "--launcher",
            "pytorch",
            *self.options,
        ]
        files = {f"config/{plan.recipe.xtuner_config}": self._config(plan), "run.json": _run_json(plan)}
        return rank_members(plan, self.master_addr, script, cwd=work_dir, files=files)

    async def prepare(self, gang: Gang) -> Gang:
        """Bring the adapter that training goes on from to every host; each rank compares its hash."""
        plan = self.run_plan
        if plan.start and not plan.cluster.shared_storage:
            source = plan.cluster.host(plan.start.host)
            for host in plan.cluster.hosts:
                if host != source:
                    try:
                        await transfer.copy(source, host, plan.start.path)
                    except HostError as e:
                        raise HostError(
                            f"start_from: the adapter of version {plan.start.version}, {plan.start.path} on "
                            f"{source.name}, cannot be copied to {host.name} ({e}). Where it is gone, set "
                            "start_from to base"
                        ) from e
                    self.log.info("the adapter of version %d copied to %s", plan.start.version, host.name)
        return gang

    def _config(self, plan: RunPlan) -> str:
        return xtuner_config.render(plan, self._dataset.train_path)

    @property
    def _dataset(self) -> DownloadedDataset:
        everywhere = [DownloadedDataset.model_validate(one) for one in self.datasets]
        if len({one.train_hash for one in everywhere}) > 1:
            hashes = ", ".join(f"{one.host}: {one.train_hash}" for one in everywhere)
            raise GangError(
                f"the hosts have different training rows of one commit ({hashes}): the hub answered them "
                f"differently. Remove {self.run_plan.data_dir} on each, and clear download_dataset"
            )
        return everywhere[0]

    def _config_path(self, plan: RunPlan, attempt: str) -> str:
        """The config on every host, in a folder of its own.

        mmengine dumps the config to the work folder under the same name, without the import of the shim.
        """
        return f"{self.work_dir(plan, attempt)}/config/{plan.recipe.xtuner_config}"


class TrainOperator(XtunerOperator):
    """Train the model, from the latest whole checkpoint of the same plan where there is one.

    Args:
        probed: The `MeasuredStrategy` of each strategy that was measured before, as JSON: the fastest one is
            used. None: the plan's.
    """

    template_fields = (*XtunerOperator.template_fields, "probed")
    checkpoint_pattern = CHECKPOINT_PATTERN

    def __init__(self, *, probed: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.probed = probed

    @property
    def run_plan(self) -> RunPlan:
        """The plan, with the fastest of the strategies that were measured."""
        plan = super().run_plan
        return plan.with_strategy(fastest(self._measured) or plan.training.deepspeed)

    def work_dir(self, plan: RunPlan, attempt: str) -> str:
        """Return the folder of an attempt, with its checkpoints, on every host."""
        return CheckpointStore(plan).work_dir(attempt)

    def spec_hash(self) -> str:
        """Return the plan's hash, and with a strategy that was measured another one."""
        used = fastest(self._measured)
        return digest([self.plan, used]) if used else super().spec_hash()

    def execute(self, context: Context) -> Any:
        """Train with the fastest strategy, in the run's turn."""
        self._log_strategy()
        return super().execute(context)

    def loss_policy(self, plan: RunPlan) -> LossPolicy:
        """Return what the recipe says of a loss that is not finite, or jumps."""
        recipe = plan.recipe
        return LossPolicy(
            jump=recipe.loss_jump, stop=recipe.on_loss == "stop", told="sqltune.alerts.notifier.tell_of_loss"
        )

    async def prepare(self, gang: Gang) -> Gang:
        """Resume from the latest checkpoint that is whole on all hosts, or start from the beginning."""
        gang = await super().prepare(gang)
        store = CheckpointStore(self.run_plan)
        checkpoint = await self._latest_undamaged(store)
        if checkpoint is None:
            return gang
        await store.stage(checkpoint, gang.attempt)
        self.log.info(
            "resuming from iteration %d of %d: %s; its hashes match on every host",
            checkpoint.step,
            checkpoint.total,
            checkpoint,
        )
        members = [m.model_copy(update={"argv": [*m.argv, *RESUME]}) for m in gang.members]
        return gang.model_copy(update={"members": members, "resumed_from": checkpoint.step})

    async def after_failure(self) -> str:
        """Where a retry resumes."""
        try:
            checkpoints = await CheckpointStore(self.run_plan).candidates()
        except HostError as e:
            return f"(its checkpoints cannot be listed: {e})"
        if not checkpoints:
            return "no whole checkpoint yet: a retry starts from the beginning"
        return f"a retry resumes from iteration {checkpoints[0].step}: {checkpoints[0]}"

    def judge(self, gang: Gang, event: GangEvent, output: str) -> TrainedCheckpoint:
        """The checkpoint, from evidence: exit codes alone prove nothing.

        Raises:
            GangError: The last iteration was not reached, its loss is not finite, or a shard is missing.
        """
        from sqltune.records import runs

        plan = self.run_plan
        progress = final_progress(event.progress, output)
        checkpoint = f"{self.work_dir(plan, gang.attempt)}/iter_{progress.step}.pth"
        shards = asyncio.run(_shards(plan, checkpoint))
        self._require_every_shard(plan, progress.step, shards)
        self.log.info(
            "iter_%d.pth: all shards (%s), final loss %s, launch skew %.3f s",
            progress.step,
            _counts(shards),
            progress.loss,
            event.launch_skew or 0,
        )
        strategy = plan.training.deepspeed
        evidence = {"attempt": gang.attempt, "config_text": self._config(plan), "strategy": strategy}
        runs.put_trained(plan.key, progress.model_dump() | evidence)
        emit_training(plan, event, progress, gang.resumed_from)
        return TrainedCheckpoint(
            config=self._config_path(plan, gang.attempt),
            checkpoint=checkpoint,
            steps=progress.step,
            loss=progress.loss,
            seconds=event.seconds,
            launch_skew=event.launch_skew,
            launch_skew_error=event.launch_skew_error,
            train_hash=self._dataset.train_hash,
            strategy=strategy,
        )

    # Once: each look at a mapped task's XComs asks Airflow.
    @cached_property
    def _measured(self) -> list[MeasuredStrategy]:
        """What the run measured for this plan. Airflow keeps results of a plan that was cleared since."""
        asked = super().run_plan.strategies
        found = [MeasuredStrategy.model_validate(one) for one in self.probed or ()] if asked else []
        return [one for one in found if one.strategy in asked]

    def _log_strategy(self) -> None:
        """Say which strategy is used, and how fast the others were."""
        if not self._measured:
            return
        used, rates = self.run_plan.training.deepspeed, ", ".join(map(str, self._measured))
        if fastest(self._measured):
            self.log.info("training with %s, the fastest strategy: %s an iteration", used, rates)
        else:
            self.log.warning("training with %s: every strategy that was measured failed: %s", used, rates)

    async def _latest_undamaged(self, store: CheckpointStore) -> SealedCheckpoint | None:
        for checkpoint in await store.candidates():
            damaged = await store.damaged(checkpoint)
            if not damaged:
                return checkpoint
            self.log.warning(
                "%s is damaged (%s): falling back to the one before", checkpoint, ", ".join(damaged)
            )
        return None

    @staticmethod
    def _require_every_shard(plan: RunPlan, step: int, shards: dict[str, int]) -> None:
        if sum(shards.values()) != plan.cluster.world_size:
            raise GangError(
                f"iter_{step}.pth has {sum(shards.values())} of {plan.cluster.world_size} shards "
                f"({_counts(shards)}): the checkpoint is not whole. Look for a full disk there; a retry "
                "resumes from the whole checkpoint before, if there is one"
            )


def final_progress(progress: Progress | None, output: str) -> Progress:
    """The last iteration of a training that finished with a finite loss.

    Args:
        progress: The last iteration in the log, as the watcher knows it. It knows none where it took over
            while the records' database was away, after the last line of the training was recorded.
        output: The end of the log.

    Raises:
        GangError: It is not the final iteration, or its loss is NaN or infinite.
    """
    progress = progress or _last_progress(output)
    if progress is None or progress.step < progress.total:
        seen = f"{progress.step} of {progress.total}" if progress else "none"
        raise GangError(
            f"every rank ended with 0, but the last iteration in the log is {seen}; the log ends:\n"
            f"{end_of(output)}"
        )
    if not progress.loss_is_finite:
        last = progress.last_finite_step
        raise GangError(
            f"the loss of iteration {progress.step} is NaN or infinite; it was last finite at "
            f"{f'iteration {last}' if last else 'no iteration'} of {progress.total}: lower learning_rate, or "
            "look at the rows trained on after it"
        )
    return progress


def _last_progress(output: str) -> Progress | None:
    tracker = ProgressTracker(PROGRESS_PATTERN, lambda _: None)
    tracker.read(output.splitlines())
    return tracker.latest


async def _shards(plan: RunPlan, checkpoint: str) -> dict[str, int]:
    """Optimizer shards on each host that stores some."""
    command = f"ls {path(checkpoint)} 2>/dev/null | grep -c {SHARD} || true"

    async def count(host: Host) -> int:
        async with connected(host.name, host.conn_id, plan.cluster.limits.connect) as connection:
            return int(await bash(connection, command, 60) or 0)

    return {host.name: await count(host) for host in plan.cluster.storage_hosts}


def _counts(shards: dict[str, int]) -> str:
    return ", ".join(f"{host}: {count}" for host, count in shards.items())


def _run_json(plan: RunPlan) -> str:
    """What is trained, kept beside the checkpoints; a resume compares the fingerprint."""
    value = {"fingerprint": plan.checkpoint_fingerprint, "plan": plan.model_dump(mode="json")}
    return json.dumps(value, ensure_ascii=False, indent=1)
