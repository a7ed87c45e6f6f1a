"""The strip of hosts and ranks, preflight's table, and the ends of logs."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from sqltune.node_contracts.preflight import HostCheck, PreflightResponse
from sqltune.records import checkups, series
from sqltune.ui.app import create_app
from ssh_gang.gpus import Gpu
from tests.host_facts import measured
from tests.sqltune.ui.gangs import Gang, at, iso


@pytest.fixture
def gang(engine) -> Gang:
    made = Gang()
    made.launch("try1", 0)
    return made


def get(gang: Gang, path: str, **query):
    response = TestClient(create_app()).get(f"/api/v1/runs/{gang.key}/{path}", params=query)
    assert response.status_code == 200, response.text
    return response.json()


def ranks(gang: Gang) -> list[dict]:
    return [rank for host in get(gang, "hosts") for rank in host["ranks"]]


def output(gang: Gang, host: str, text: str, attempt: str = "try1") -> None:
    gang.recorder.output(attempt, host, 0, text.encode())


def test_each_host_has_its_ranks_in_the_order_of_torchrun(gang):
    found = get(gang, "hosts")
    assert [(host["name"], [rank["rank"] for rank in host["ranks"]]) for host in found] == [
        ("host-a", [0]),
        ("host-b", [1]),
    ]


def test_a_rank_has_its_step_and_its_time_relative_to_the_fastest(gang):
    gang.report(0, step=14, seconds=40, each=2.0)
    gang.report(1, step=13, seconds=40, each=2.2)
    found = ranks(gang)
    assert [(rank["step"], rank["at"]) for rank in found] == [(14, iso(40)), (13, iso(40))]
    assert [rank["relative"] for rank in found] == [1.0, pytest.approx(1.1)]


@pytest.mark.parametrize(("each", "flag"), [(2.4, None), (2.6, "slow")])
def test_a_rank_whose_steps_take_a_quarter_longer_is_slow(gang, each, flag):
    gang.report(0, step=14, seconds=40, each=2.0)
    gang.report(1, step=14, seconds=40, each=each)
    assert [rank["flag"] for rank in ranks(gang)] == [None, flag]


@pytest.mark.parametrize(("seconds", "flag"), [(60, None), (62, "silent")])
def test_a_rank_that_has_not_reported_while_another_has_is_silent(gang, seconds, flag):
    """For 15 s and the time of three steps."""
    gang.report(0, step=14, seconds=40)
    gang.report(1, step=30, seconds=seconds)
    assert [rank["flag"] for rank in ranks(gang)] == [flag, None]


def test_reports_of_an_earlier_attempt_make_no_rank_silent_or_slow(gang):
    gang.report(0, step=14, seconds=40, each=1.0)
    gang.report(1, step=2, seconds=400, each=2.0, attempt="try2")
    assert [rank["flag"] for rank in ranks(gang)] == [None, None]


def test_the_host_and_the_rank_that_failed_first_are_marked(gang):
    gang.report(1, step=14, seconds=40)
    gang.fail("try1", 50, failed_host="host-b", failed_rank=1)
    assert [host["failed"] for host in get(gang, "hosts")] == [False, True]
    assert [rank["flag"] for rank in ranks(gang)] == [None, "failed"]


def test_hosts_whose_training_a_person_stopped_are_stopped(gang):
    series.put_host_states(gang.key, at(30), dict.fromkeys(gang.hosts, "running"))
    assert {host["state"] for host in get(gang, "hosts")} == {"running"}
    gang.note("try1", "killed", 40)
    assert {host["state"] for host in get(gang, "hosts")} == {"stopped"}


def test_each_host_and_rank_has_the_last_line_of_the_newest_attempt(gang):
    output(gang, "host-a", "[rank 0]:old\n")
    gang.launch("try2", 100)
    output(gang, "host-a", "[rank 0]:one\n[rank 0]:two\ntorchrun's own\n", attempt="try2")
    host = get(gang, "hosts")[0]
    assert host["last_line"] == "torchrun's own"
    assert host["ranks"][0]["last_line"] == "two"
    assert host["log"].endswith(".try2.host-a")
    assert len(host["logs"]) == 2


def test_a_long_last_line_is_cut(gang):
    output(gang, "host-a", "x" * 5000)
    assert len(get(gang, "hosts")[0]["last_line"]) == 500


def test_a_host_has_the_newest_sample_of_each_gpu(gang):
    for seconds, use in ((10, 50.0), (25, 90.0)):
        gpu = Gpu(index=0, use=use, memory_used=1, memory_total=2, temperature=61)
        gang.recorder.gpu_samples("try1", at(seconds).timestamp(), "host-a", [gpu])
    [gpu] = get(gang, "hosts")[0]["gpus"]
    assert (gpu["use"], gpu["temperature"], gpu["at"]) == (90.0, 61.0, iso(25))


def test_the_lines_of_one_rank_are_taken_out_of_a_hosts_log(gang):
    output(gang, "host-a", "".join(f"[rank {n % 2}]:line {n}\n" for n in range(10)))
    name = get(gang, "hosts")[0]["log"]
    assert get(gang, f"logs/{name}", rank=1, lines=2)["text"] == "line 7\nline 9"


def test_preflight_has_value_limit_and_problem_of_every_check(gang):
    checks = [
        HostCheck(name="disk", value="1 GiB", limit="2 GiB", problem="1 GiB are free: delete old runs"),
        HostCheck(name="memory", value="9 GiB", limit="2 GiB"),
    ]
    checkups.put(gang.key, "host-a", PreflightResponse(facts=measured(), checks=checks))
    [host] = get(gang, "preflight")["hosts"]
    assert (host["host"], host["facts"]["versions"]) == ("host-a", {"torch": "2.13.0"})
    assert [(c["name"], c["value"], c["limit"], c["problem"]) for c in host["checks"]] == [
        ("disk", "1 GiB", "2 GiB", "1 GiB are free: delete old runs"),
        ("memory", "9 GiB", "2 GiB", None),
    ]
