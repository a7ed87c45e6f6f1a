"""A training that is killed and resumed has the same losses as one that was never killed."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import time
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest

from sqltune.config.plan import RunPlan
from sqltune.operators.train import TrainOperator
from ssh_gang.errors import GangError
from ssh_gang.folder_recorder import FolderRecorder
from ssh_gang.hook import GangHook
from ssh_gang.progress import Progress
from ssh_gang.resume import Decision
from ssh_gang.watch import Watch
from tests.chain.conftest import DAG, STATE
from tests.hosts.gangs import remaining_processes

LOG = logging.getLogger("test")
STEPS = 24
ANOTHER_AIRFLOW = uuid.uuid4().hex
"""The lab's own does not know these runs: its housekeeping would stop their ranks."""


@pytest.fixture
def trained(lab, connected, records, tmp_path):
    """Trains on the lab's hosts by the operator's own parts; the losses by step, and the try."""
    airflow, run = lab.airflow, lab.first_run
    datasets = [airflow.xcom(DAG, run, "download_dataset", n) for n in (0, 1)]
    master = airflow.xcom(DAG, run, "master_ip")
    base = airflow.xcom(DAG, run, "plan")

    def make(run_id, number):
        training = base["training"] | {"max_steps": STEPS, "save_steps": 4, "save_total_limit": 3, "seed": 5}
        own = {"run_id": run_id, "training": training, "installation": ANOTHER_AIRFLOW}
        plan = RunPlan.model_validate(base | own)
        op = TrainOperator(
            task_id="train", plan=plan.model_dump(mode="json"), master_addr=master, datasets=datasets
        )
        ti = SimpleNamespace(
            dag_id="d",
            task_id="train",
            run_id=run_id,
            id=uuid.UUID(int=(int(time.time() * 1000) << 80)),
            map_index=-1,
            max_tries=1,
            try_number=number,
        )
        return plan, op, op.gang({"ti": ti}, f"try{number}")

    def train(run_id, number, kill_after=None):
        plan, op, gang = make(run_id, number)
        record = FolderRecorder(tmp_path / run_id, gang.name)

        async def go():
            async with GangHook(gang) as hook:
                _, started = await hook.launch(op.prepare)
                watching = asyncio.create_task(Watch(hook, LOG, record).until_the_end())
                while (  # noqa: ASYNC110 the condition is a record in a file, which sets no event
                    kill_after
                    and not watching.done()
                    and not ((last := record.last_progress(gang.attempt)) and last.step >= kill_after)
                ):
                    await asyncio.sleep(0.05)
                if kill_after:
                    ranks = [
                        int(p.name)
                        for p in remaining_processes(started)
                        if b"RANK=1" in (p / "environ").read_bytes().split(b"\0")
                    ]
                    assert ranks, "the training ended before its rank could be killed"
                    os.kill(ranks[0], signal.SIGKILL)
                return await asyncio.wait_for(watching, 200)

        event = asyncio.run(go())
        lines = [json.loads(line) for line in (record.folder / "progress.jsonl").read_text().splitlines()]
        losses = {
            line["progress"]["step"]: line["progress"]["loss"]
            for line in lines
            if line["attempt"] == f"try{number}"
        }
        return event, losses, plan

    train.make = make
    return train


def checkpoints(host, plan) -> Path:
    """The work folder of the first try."""
    return STATE / f"hosts/{host}/home/code/runs/{plan.key}/train/try1"


def sealed(host, plan) -> set[int]:
    """Steps of the checkpoints that were written whole."""
    seals = checkpoints(host, plan).glob("iter_*.pth/seal.*.json")
    return {int(seal.parent.stem.removeprefix("iter_")) for seal in seals}


# Three trainings; in every `make test`, test_page sees one resume.
@pytest.mark.chaos
def test_killed_and_gone_on_with_the_loss_is_that_of_one_never_killed(trained):
    event, whole, _ = trained("whole", 1)
    assert event.ok
    assert sorted(whole) == list(range(1, STEPS + 1))
    event, begun, plan = trained("broken", 1, kill_after=9)
    assert not event.ok
    assert event.failed_host == "host-b"
    assert event.failed_rank == 1
    # One byte of the latest checkpoint is wrong on one host.
    *_, before, latest = sorted(sealed("host-a", plan) & sealed("host-b", plan))
    (shard,) = checkpoints("host-b", plan).glob(f"iter_{latest}.pth/*_optim_states.pt")
    with shard.open("r+b") as f:
        f.seek(-2000, os.SEEK_END)
        byte = f.read(1)
        f.seek(-2000, os.SEEK_END)
        f.write(bytes([byte[0] ^ 1]))
    event, resumed, _ = trained("broken", 2)
    assert event.ok
    expected = list(range(before + 1, STEPS + 1))
    assert sorted(resumed) == expected, "not from the checkpoint before the damaged one"
    for step, loss in (begun | resumed).items():
        assert loss == pytest.approx(whole[step], abs=2e-4), step


def test_a_program_that_ends_with_0_and_has_not_trained_is_refused_and_started_again(trained):
    _, op, gang = trained.make("idle", 1)
    idle = gang.model_copy(
        update={"members": [m.model_copy(update={"argv": ["true"], "ranks": 0}) for m in gang.members]}
    )

    async def ran(g):
        async with GangHook(g) as hook:
            decision, _ = await hook.launch()
            return decision, await Watch(hook, LOG, None).until_the_end()

    decision, event = asyncio.run(ran(idle))
    assert decision is Decision.FRESH_SUBMIT
    assert event.ok
    with pytest.raises(GangError, match="every rank ended with 0, but the last iteration in the log is none"):
        op.judge(idle, event, "")
    # Iterations in the log, and no shard on any host.
    with pytest.raises(GangError, match=r"iter_24.pth has 0 of 2 shards \(host-a: 0, host-b: 0\)"):
        op.judge(idle, event.model_copy(update={"progress": Progress(step=STEPS, total=STEPS, loss=1.0)}), "")
    op._with_hook(idle, lambda hook: hook.refuse())
    decision, event = asyncio.run(ran(idle.model_copy(update={"attempt": "try2"})))
    assert decision is Decision.TERMINAL_RESUBMIT
    assert event.ok


@pytest.mark.chaos
def test_old_checkpoints_do_not_fill_the_other_host(lab):
    """mmengine keeps three on rank 0's host, and all elsewhere."""
    kept = {
        host: sorted(p.name for p in STATE.glob(f"hosts/{host}/home/code/runs/whole/train/try1/iter_*.pth"))
        for host in ("host-a", "host-b")
    }
    assert kept["host-a"] == kept["host-b"] == ["iter_16.pth", "iter_20.pth", "iter_24.pth"]
