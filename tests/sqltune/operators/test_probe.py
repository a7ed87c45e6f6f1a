"""Probing a strategy: what runs on each host, how fast it was, and what is a strategy's own failure."""

from __future__ import annotations

import json
import uuid
from types import SimpleNamespace

import pytest

from sqltune.operators.probe import ProbeOperator, seconds_per_iteration
from sqltune.records import strategies
from sqltune.records.measured_strategy import MeasuredStrategy
from ssh_gang.errors import GangError
from ssh_gang.event import GangEvent
from ssh_gang.hook import GangHook
from tests.plans import run_plan
from tests.sqltune.operators.test_train import DATASET


def operator(strategy: str = "zero2", **training: object) -> ProbeOperator:
    plan = run_plan()
    plan = plan.model_copy(update={"training": plan.training.model_copy(update=training)})
    return ProbeOperator(
        task_id="probe",
        plan=plan.model_dump(mode="json"),
        master_addr="10.0.0.1",
        datasets=[DATASET],
        strategy=strategy,
    )


def context(map_index: int = 2) -> dict:
    ti = SimpleNamespace(
        dag_id="d",
        task_id="probe",
        run_id="r1",
        id=uuid.UUID(int=7 << 80),
        map_index=map_index,
        max_tries=1,
        try_number=1,
    )
    return {"ti": ti}


def log(*seconds: float, total: int | None = None, loss: str = "1.5") -> str:
    """The log of a training whose iterations took so long."""
    total = total or len(seconds)
    return "\n".join(
        f"[rank 0]: Iter(train) [{step:3d}/{total}]  lr: 1e-04  time: {each}  loss: {loss}"
        for step, each in enumerate(seconds, 1)
    )


def event(**fields: object) -> dict:
    given = {"ok": True, "attempt": "zero2.try1-ab", "reason": "", "seconds": 1} | fields
    return GangEvent(**given).model_dump(mode="json")


@pytest.fixture
def hook(monkeypatch) -> SimpleNamespace:
    """`printed` is what the first host printed; `refused` counts."""
    calls = SimpleNamespace(printed="", refused=0)

    async def tail(self, member, rank=None, lines=30):
        return calls.printed

    async def refuse(self):
        calls.refused += 1

    monkeypatch.setattr(GangHook, "tail", tail)
    monkeypatch.setattr(GangHook, "refuse", refuse)
    return calls


def test_it_trains_twenty_iterations_with_its_strategy_and_no_checkpoint():
    made = operator("zero1", max_steps=None, max_epochs=3, log_interval=10)
    first, second = made.members(made.run_plan, "a1")
    assert [m.argv[m.argv.index("--deepspeed") + 1] for m in (first, second)] == ["deepspeed_zero1"] * 2
    assert first.argv[-3:] == [
        "--cfg-options",
        "default_hooks.checkpoint=None",
        "log_processor.window_size=1",
    ]
    config = first.files["config/lab_lora.py"]
    for setting in ("max_steps = 20", "max_epochs = 0", "log_interval = 1"):
        assert f"\n{setting}\n" in config


def test_it_trains_no_more_than_the_training():
    assert operator(max_steps=7).run_plan.training.max_steps == 7


def test_a_step_of_the_optimizer_is_part_of_it():
    assert operator(max_steps=None, max_epochs=1, accumulative_counts=64).run_plan.training.max_steps == 66


def test_each_strategy_has_a_gang_and_a_folder_of_its_own_beside_the_trainings():
    made = operator("zero1")
    attempt = made.new_attempt(context())
    gang = made.gang(context(), attempt)
    assert attempt.startswith("zero1.try1-")
    assert gang.name.startswith("d.probe_2.r1.")
    assert gang.exclusive
    assert gang.members[0].cwd == f"~/code/runs/r1/probe/{attempt}"
    assert json.loads(gang.members[0].files["run.json"])["plan"]["training"]["deepspeed"] == "zero1"


def test_a_rate_is_handed_on_and_recorded(records, hook):
    hook.printed = log(9.0, 9.0, 1.0, 3.0, 2.0)
    handed_on = operator().execute_complete(context(), event())
    assert handed_on == {"strategy": "zero2", "seconds_per_iteration": 2.0, "error": ""}
    assert strategies.measured(run_plan()) == [MeasuredStrategy.model_validate(handed_on)]


def test_a_strategy_whose_ranks_fail_is_out_with_its_first_error(records, hook):
    failed = event(
        ok=False,
        reason="host-b rank 1: exit code 1, before all others",
        failed_host="host-b",
        failed_code=1,
        first_errors=("[host-b rank 1] torch.OutOfMemoryError: CUDA out of memory",),
    )
    handed_on = operator().execute_complete(context(), failed)
    assert handed_on["seconds_per_iteration"] is None
    assert handed_on["error"] == "[host-b rank 1] torch.OutOfMemoryError: CUDA out of memory"
    assert strategies.measured(run_plan()) == [MeasuredStrategy.model_validate(handed_on)]


def test_a_strategy_that_fails_without_an_error_is_out_with_the_reason(records, hook):
    failed = event(ok=False, reason="host-b: killed by signal 9", failed_code=-9)
    assert operator().execute_complete(context(), failed)["error"] == "host-b: killed by signal 9"


@pytest.mark.parametrize(
    ("printed", "error"),
    [
        (log(1.0, total=20), "every rank ended with 0, but the last iteration in the log is 1 of 20"),
        (log(1.0, 1.0, loss="nan"), "the loss of iteration 2 is NaN or infinite"),
        ("Iter(train) [20/20]  loss: 1.5", "the log has no time of an iteration"),
    ],
)
def test_a_strategy_without_a_whole_training_is_out(records, hook, printed, error):
    hook.printed = printed
    assert operator().execute_complete(context(), event())["error"].startswith(error)


@pytest.mark.parametrize(
    "reason",
    [
        "host-b: stopped",
        "host-b: lost: the host was restarted",
        "host-b: not reachable for 600 s (limit unreachable)",
        "no progress for 1800 s (limit first_step), last: no iteration yet",
    ],
)
def test_a_stop_a_lost_host_and_a_limit_fail_the_task(records, hook, reason):
    with pytest.raises(GangError, match=reason.partition("(")[0]):
        operator().execute_complete(context(), event(ok=False, reason=reason))
    assert strategies.measured(run_plan()) == []


@pytest.mark.parametrize(
    ("seconds", "accumulative_counts", "expected"),
    [
        ([9, 9, 1, 2, 9], 1, 2),
        ([9, 8], 1, 8.5),
        ([9, 9, 1, 1, 4, 1, 1, 4], 3, 2),
        ([9, 9, 1, 1, 4], 16, 2),
    ],
    ids=["without the first two", "only the first two", "a step of the optimizer in three", "none whole"],
)
def test_seconds_an_iteration(seconds, accumulative_counts, expected):
    assert seconds_per_iteration(log(*seconds), accumulative_counts) == expected
