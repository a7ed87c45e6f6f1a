"""Training: what runs on each host, and what proves that it finished."""

from __future__ import annotations

import json
import shlex
import uuid
from types import SimpleNamespace

import pytest
from airflow.sdk.bases.operator import TriggerFailureReason
from airflow.sdk.exceptions import AirflowRescheduleException, TaskDeferralTimeout, TaskDeferred

from sqltune.config.base import digest
from sqltune.contracts import dumped
from sqltune.operators.train import TrainOperator, final_progress
from sqltune.records import claims, database, installation
from sqltune.records.claims import Owner
from sqltune.records.errors import LogStoreError
from sqltune.records.logstore import check_log_store
from ssh_gang.errors import GangError
from ssh_gang.event import GangEvent
from ssh_gang.hook import GangHook
from ssh_gang.model import gang_name
from ssh_gang.progress import Progress
from ssh_gang.resume import Decision
from ssh_gang.watch import Watch
from tests.exported import TRAINED
from tests.plans import run_plan

DATASET = {
    "host": "host-a",
    "train_path": "~/code/data/d/c0ffee/split/train.jsonl",
    "held_out_path": "~/code/data/d/c0ffee/split/held_out.jsonl",
    "train_hash": "ab",
    "counts": {},
    "longest": 100,
    "files": ["train.jsonl"],
}


def operator(plan):
    return TrainOperator(
        task_id="train", plan=plan.model_dump(mode="json"), master_addr="10.0.0.1", datasets=[DATASET]
    )


def losses(*values: float | None) -> Progress:
    """The progress after iterations with these losses, the last one the final iteration; None is NaN."""
    progress = None
    for step, loss in enumerate(values, 1):
        one = Progress(step=step, total=len(values), loss=loss, loss_is_finite=loss is not None)
        progress = one.after(progress)
    assert progress is not None
    return progress


def test_the_command_of_each_host(golden):
    plan = run_plan(recipe_file="codellama_7b_qlora", cluster_file="gpu_2x4")
    members = operator(plan).members(plan, "try1-ab")
    golden("train.commands.txt", "".join(f"[{m.host}] {shlex.join(m.argv)}\n" for m in members))


def test_hosts_with_different_rows_of_one_commit_train_nothing():
    other = DATASET | {"host": "host-b", "train_hash": "cd"}
    training = TrainOperator(
        task_id="train",
        plan=run_plan().model_dump(mode="json"),
        master_addr="10.0.0.1",
        datasets=[DATASET, other],
    )
    with pytest.raises(
        GangError, match=r"different training rows .* \(host-a: ab, host-b: cd\).*clear download_dataset"
    ) as e:
        training.members(run_plan(), "try1-ab")
    assert f"Remove {run_plan().data_dir} on each" in str(e.value)


def test_config_and_plan_are_written_beside_the_checkpoints():
    plan = run_plan()
    member = operator(plan).members(plan, "try1-ab")[0]
    assert sorted(member.files) == ["config/lab_lora.py", "run.json"]
    assert member.cwd == "~/code/runs/r1/train/try1-ab"
    assert json.loads(member.files["run.json"])["fingerprint"] == plan.fingerprint


def test_the_config_trains_on_the_downloaded_rows():
    plan = run_plan()
    config = operator(plan).members(plan, "try1-ab")[0].files["config/lab_lora.py"]
    assert f"data_path = {DATASET['train_path']!r}" in config


def test_a_finite_loss_at_the_final_iteration_is_a_success():
    assert final_progress(losses(3.0, 2.0), "").loss == 2.0


def test_a_log_without_an_iteration_is_a_failure():
    with pytest.raises(GangError, match=r"(?s)the last iteration in the log is none; the log ends:.*the end"):
        final_progress(None, "the end")


def test_a_final_iteration_that_only_the_log_knows_is_a_success():
    """A watcher that took over while the database was away never learned what had been recorded before."""
    log = "[rank 0]: Iter(train) [9/9]  lr: 1e-04  loss: 0.5\n[rank 1]: Saving checkpoint at 9 iterations"
    assert final_progress(None, log).step == 9


def test_a_final_iteration_that_only_the_log_knows_must_have_a_finite_loss():
    with pytest.raises(GangError, match="the loss of iteration 9 is NaN or infinite"):
        final_progress(None, "[rank 0]: Iter(train) [9/9]  lr: 1e-04  loss: nan")


def test_a_training_that_stopped_early_is_a_failure():
    with pytest.raises(GangError, match="the last iteration in the log is 4 of 10"):
        final_progress(Progress(step=4, total=10, loss=1.0), "")


def test_a_loss_that_is_not_finite_names_the_last_finite_iteration():
    """lab_tiny once ended with loss nan from iteration 27 on, and `train` succeeded."""
    with pytest.raises(GangError, match="the loss of iteration 4 is NaN or infinite; .*at iteration 2 of 4"):
        final_progress(losses(3.0, 2.0, None, None), "")


def test_a_loss_that_was_never_finite_is_a_failure():
    with pytest.raises(GangError, match="last finite at no iteration of 2"):
        final_progress(losses(None, None), "")


def test_a_loss_that_is_finite_again_is_a_success():
    """Under float16 with dynamic loss scaling, an overflow skips its step."""
    assert final_progress(losses(3.0, None, 2.0), "").step == 3


class Hosts:
    """What the hook was called for."""

    def __init__(self) -> None:
        self.launched = 0
        self.stopped: list[tuple[str, str | None]] = []


@pytest.fixture
def hosts(monkeypatch) -> Hosts:
    calls = Hosts()

    async def launch(self, prepare=None):
        calls.launched += 1
        return Decision.FRESH_SUBMIT, self.gang

    async def stop(self, attempt):
        calls.stopped.append((self.gang.name, attempt))

    monkeypatch.setattr(GangHook, "launch", launch)
    monkeypatch.setattr(GangHook, "stop", stop)
    return calls


def context(running: tuple[str, ...] = ()) -> dict:
    """The context of the run r1's task; `running` are the other runs that run."""
    ti = SimpleNamespace(
        dag_id="d",
        task_id="train",
        run_id="r1",
        id=uuid.UUID(int=7 << 80),
        map_index=-1,
        max_tries=1,
        try_number=1,
        get_dr_count=lambda dag_id, run_ids, states: len({*run_ids} & {*running}),
    )
    return {"ti": ti}


def close_database(monkeypatch) -> None:
    """Make the records' database unreachable."""
    database.close()
    monkeypatch.setenv("SQLTUNE_DATABASE_URL", "postgresql+psycopg2://sqltune@127.0.0.1:1/sqltune")


def test_a_run_that_lost_its_turn_while_it_was_cleared_waits_before_it_trains(records, hosts):
    plan = run_plan()
    claims.take(plan.cluster_name, Owner("d", "r2"))
    with pytest.raises(AirflowRescheduleException):
        operator(plan).execute(context(running=("r2",)))
    assert hosts.launched == 0


def test_a_run_that_was_cleared_trains_when_the_other_one_has_ended(records, hosts):
    plan = run_plan()
    claims.take(plan.cluster_name, Owner("d", "r2"))
    with pytest.raises(TaskDeferred):
        operator(plan).execute(context())
    assert claims.take(plan.cluster_name, Owner("d", "r3")).owner == Owner("d", "r1")


def test_a_retry_finds_its_ranks_while_the_database_is_away(records, hosts, monkeypatch):
    close_database(monkeypatch)
    with pytest.raises(TaskDeferred):
        operator(run_plan()).execute(context())
    assert hosts.launched == 1


def test_a_deferral_that_times_out_stops_the_ranks_while_the_database_is_away(records, hosts, monkeypatch):
    close_database(monkeypatch)
    plan = run_plan()
    with pytest.raises(TaskDeferralTimeout):
        operator(plan).resume_execution(
            "__fail__", {"error": TriggerFailureReason.TRIGGER_TIMEOUT}, context()
        )
    assert hosts.stopped == [(gang_name("d", "train", "r1", plan.installation), None)]


def test_nothing_is_started_on_a_machine_with_another_log_store(records, monkeypatch, tmp_path):
    check_log_store("r1")
    plan = run_plan(installation=installation.name())
    monkeypatch.setenv("SQLTUNE_LOG_STORE", f"{tmp_path}/elsewhere")
    with pytest.raises(LogStoreError, match="is not the log store that this run was planned with"):
        operator(plan).pre_execute({})


def test_a_training_that_ends_while_the_task_watches_it_hands_on_its_checkpoint(records, hosts, monkeypatch):
    async def until_the_end(self):
        return GangEvent(ok=True, attempt=self.gang.attempt, reason="", seconds=1)

    async def tail(self, member, rank=None, lines=30):
        return ""

    monkeypatch.setattr(Watch, "until_the_end", until_the_end)
    monkeypatch.setattr(GangHook, "tail", tail)
    monkeypatch.setattr(TrainOperator, "judge", lambda *_: TRAINED)
    monkeypatch.setattr(TrainOperator, "patience", 60.0)
    assert operator(run_plan()).execute(context()) == dumped(TRAINED)


def measured(**rates: float | None) -> list[dict]:
    """What `probe` handed on: seconds an iteration by strategy; None is a failure."""
    return [
        {"strategy": name, "seconds_per_iteration": seconds, "error": "" if seconds else "out of memory"}
        for name, seconds in rates.items()
    ]


def probed(plan, **rates: float | None):
    made = operator(plan)
    made.probed = measured(**rates)
    return made


def strategy_of(member) -> str:
    return member.argv[member.argv.index("--deepspeed") + 1]


def probing_plan(*strategies: str):
    """A plan that asked for these strategies to be measured; without a name, for all that the tests use."""
    plan = run_plan(strategies=list(strategies or ("zero1", "zero2", "zero3")))
    return plan.model_copy(update={"training": plan.training.model_copy(update={"probe": True})})


def test_the_fastest_strategy_that_was_measured_is_trained_with():
    made = probed(probing_plan(), zero3=2.0, zero2=1.0, zero1=None)
    assert {strategy_of(m) for m in made.members(made.run_plan, "try1-ab")} == {"deepspeed_zero2"}


@pytest.mark.parametrize(
    ("plan", "used"), [(probing_plan("zero3"), "deepspeed_zero3"), (run_plan(), "deepspeed_zero3_offload")]
)
def test_results_of_a_plan_that_was_cleared_since_do_not_count(plan, used):
    """Airflow keeps what a mapped task handed on until the same index runs again."""
    made = probed(plan, zero3=2.0, zero2=1.0)
    assert {strategy_of(m) for m in made.members(made.run_plan, "try1-ab")} == {used}


def test_a_plan_of_an_earlier_version_keeps_its_ranks():
    plan = run_plan().model_dump(mode="json")
    del plan["strategies"], plan["start_from"], plan["start"], plan["training"]["probe"]
    made = TrainOperator(task_id="train", plan=plan, master_addr="10.0.0.1", datasets=[DATASET])
    assert made.gang(context(), "try1").spec_hash == digest(plan)


def test_where_every_strategy_failed_the_plans_is_trained_with(records, hosts, capsys):
    made = probed(probing_plan(), zero2=None, zero1=None)
    with pytest.raises(TaskDeferred):
        made.execute(context())
    assert made.run_plan.training.deepspeed == "zero3_offload"
    printed = capsys.readouterr().out
    assert "training with zero3_offload: every strategy that was measured failed" in printed
    assert "zero1 failed (out of memory)" in printed


def test_the_log_has_the_rates(records, hosts, capsys):
    with pytest.raises(TaskDeferred):
        probed(probing_plan(), zero3=2.0, zero2=0.125).execute(context())
    expected = "training with zero2, the fastest strategy: zero3 2.000 s, zero2 0.125 s"
    assert expected in capsys.readouterr().out


def test_ranks_and_checkpoints_of_another_strategy_are_not_taken_over():
    one, other = (probed(probing_plan(), zero1=rate, zero2=1.0) for rate in (0.5, 2.0))
    assert one.gang(context(), "try1").spec_hash != other.gang(context(), "try1").spec_hash
    prints = [
        json.loads(made.members(made.run_plan, "a")[0].files["run.json"])["fingerprint"]
        for made in (one, other)
    ]
    assert prints[0] != prints[1]
