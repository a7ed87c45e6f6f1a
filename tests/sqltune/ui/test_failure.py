"""What a failed run failed of."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from sqltune.node_contracts.preflight import HostCheck, PreflightResponse
from sqltune.records import checkups
from sqltune.records.types import now
from sqltune.ui.app import create_app
from sqltune.ui.remedies import remedy
from ssh_gang.progress import Progress
from tests.host_facts import measured
from tests.sqltune.ui.gangs import BEGAN, Gang, iso

NO_DISK = HostCheck(name="disk", value="1 GiB", limit="2 GiB", problem="1 GiB are free: delete old runs")


@pytest.fixture
def gang(engine) -> Gang:
    made = Gang()
    made.launch("try1", 0)
    return made


@pytest.fixture
def failure(gang):
    """The failure as the API answers now."""

    def get() -> dict | None:
        response = TestClient(create_app()).get(f"/api/v1/runs/{gang.key}/failure")
        assert response.status_code == 200, response.text
        return response.json()["failure"]

    return get


def test_a_run_that_goes_on_has_not_failed(gang, failure):
    assert failure() is None


def test_a_rank_that_failed_first_is_named_with_its_step_and_exit(gang, failure):
    gang.fail(
        "try1",
        40,
        advice="a retry resumes from iteration 10",
        failed_host="host-b",
        failed_rank=1,
        failed_exit="killed by signal 9",
        progress=Progress(step=14, total=40),
        first_errors=("[host-b rank 1] torch.OutOfMemoryError: CUDA out of memory",),
        tail="the last lines",
    )
    found = failure()
    assert (found["task"], found["attempt"], found["cause"], found["at"]) == (
        "train",
        "try1",
        "rank",
        iso(40),
    )
    assert (found["host"], found["rank"], found["exit"]) == ("host-b", 1, "killed by signal 9")
    assert (found["step"], found["total"], found["tail"]) == (14, 40, "the last lines")
    assert found["first_errors"] == ["[host-b rank 1] torch.OutOfMemoryError: CUDA out of memory"]
    assert (found["remedy"], found["retry"]) == ("gpu_memory", "a retry resumes from iteration 10")


def test_a_strategy_that_failed_is_no_failure_of_the_run(gang, failure):
    probe = Gang("probe")
    probe.launch("zero2.try1", 100)
    probe.end("zero2.try1", 120, ok=False, reason="host-a rank 0: exit code 1", failed_code=1)
    assert failure() is None
    probe.note("zero2.try1", "failed", 121, reason="its host is lost")
    assert failure()["task"] == "probe"


def test_a_failure_is_over_when_a_retry_is_under_way(gang, failure):
    gang.fail("try1", 40)
    gang.launch("try2", 60)
    assert failure() is None


def test_a_retry_that_failed_too_is_the_failure(gang, failure):
    gang.fail("try1", 40)
    gang.launch("try2", 60)
    gang.fail("try2", 80)
    assert failure()["attempt"] == "try2"


def test_a_gang_that_failed_before_the_one_that_runs_now_is_no_failure(gang, failure):
    gang.end("try1", 40)
    assert failure() is None
    convert = Gang("export_model")
    convert.launch("try1", 50)
    convert.fail("try1", 60, failed_host="host-a")
    found = failure()
    assert (found["task"], found["cause"]) == ("export_model", "host")


def test_a_limit_that_was_exceeded_is_the_cause(gang, failure):
    reason = "no progress for 1800 s (limit stall), last: iter 14/40"
    gang.fail("try1", 40, reason=reason)
    found = failure()
    assert (found["cause"], found["remedy"], found["host"]) == ("limit", "limit_stall", None)


def test_a_launch_that_was_refused_is_the_cause(gang, failure):
    gang.fail("try1", 40)
    gang.note("try2", "failed", 60, reason="host-b: cannot be prepared: port 12345 is taken: end the process")
    found = failure()
    assert (found["attempt"], found["cause"], found["remedy"]) == ("try2", "launch", "port")


def test_an_end_without_evidence_is_the_cause(gang, failure):
    gang.end("try1", 40)
    gang.note("try1", "failed", 41, reason="the loss of iteration 14 is NaN or infinite")
    found = failure()
    assert (found["cause"], found["remedy"]) == ("evidence", "not_finite")
    assert found["reason"] == "the loss of iteration 14 is NaN or infinite"


def test_a_person_who_stopped_the_task_is_the_cause(gang, failure):
    gang.note("try1", "killed", 40)
    found = failure()
    assert (found["cause"], found["at"]) == ("person", iso(40))


def test_a_host_that_preflight_refused_is_the_cause(engine):
    gang = Gang()
    good = HostCheck(name="memory", value="9 GiB")
    checkups.put(gang.key, "host-a", PreflightResponse(facts=measured(), checks=[good]))
    checkups.put(gang.key, "host-b", PreflightResponse(facts=measured(), checks=[good, NO_DISK]))
    found = TestClient(create_app()).get(f"/api/v1/runs/{gang.key}/failure").json()["failure"]
    assert (found["task"], found["cause"], found["host"]) == ("preflight", "preflight", "host-b")
    assert found["reason"] == "host-b: 1 GiB are free: delete old runs"


def test_a_host_that_was_refused_before_the_gangs_began_is_no_failure(gang, failure):
    checkups.put(gang.key, "host-b", PreflightResponse(facts=measured(), checks=[NO_DISK]))
    assert failure()["cause"] == "preflight"
    later = (now() - BEGAN + timedelta(seconds=5)).total_seconds()
    gang.launch("try2", later)
    assert failure() is None


@pytest.mark.parametrize(
    ("texts", "known"),
    [
        (["a: not done after 9 s (limit total)"], "limit_total"),
        (["b rank 3: exit code 1; its disk is full (9 MiB under /code free): delete old runs there"], "disk"),
        (["b rank 3: killed by signal 9", "", ""], "host_memory"),
        (["b rank 3: killed by signal 9", "torch.OutOfMemoryError: CUDA out of memory"], "gpu_memory"),
        (["b rank 3: exit code 1", "ModuleNotFoundError: No module named 'peft'"], "package"),
        (["b rank 3: exit code 1", "", "RuntimeError: [gloo] Connection closed by peer"], "network"),
        (
            ["b rank 3: exit code 1", "out of memory", "Connection reset by peer, then OutOfMemoryError"],
            "gpu_memory",
        ),
        (["b: lost: the host was restarted"], "host_lost"),
        (["b rank 3: exit code 1", "ValueError: no"], None),
    ],
)
def test_a_known_failure_has_a_remedy(texts, known):
    assert remedy(*texts) == known
