"""Hosts that can do their part of a run and agree, and hosts that do not."""

from __future__ import annotations

import time

import pytest

from sqltune.node_contracts.preflight import HostCheck, PreflightRequest, PreflightResponse
from sqltune.records import checkups
from sqltune.tasks import preflight
from ssh_gang.errors import HostError
from tests.host_facts import facts, measured

CHECKS = [
    HostCheck(name="disk", value="1 GiB", limit="2 GiB", problem="no disk"),
    HostCheck(name="memory", value="1 GiB", limit="2 GiB", problem="no memory"),
]


@pytest.fixture
def host(monkeypatch):
    """The host, as its script answers; the requests that it received."""
    requests: list[PreflightRequest] = []
    response = PreflightResponse(facts=measured(), checks=[])

    async def push(plan, target):
        pass

    def run(plan, target, script, request, time_limit):
        requests.append(request)
        return run.response

    run.response = response
    run.requests = requests
    monkeypatch.setattr(preflight.node, "push", push)
    monkeypatch.setattr(preflight.node, "run", run)
    return run


def test_the_facts_of_a_good_host_are_handed_on(plan, host):
    assert preflight.preflight(plan, "host-b")["host"] == "host-b"


def test_every_problem_of_a_host_is_reported(plan, host):
    host.response = PreflightResponse(facts=measured(), checks=CHECKS)
    with pytest.raises(HostError, match="host-b: no disk\nhost-b: no memory"):
        preflight.preflight(plan, "host-b")


def test_a_clock_that_is_off_is_a_problem(plan, host):
    host.response = PreflightResponse(facts=measured(clock=time.time() + 120), checks=[])
    with pytest.raises(
        HostError, match=r"host-b: its clock is \+1[12]\d s off \(30 s are allowed\): start chrony"
    ):
        preflight.preflight(plan, "host-b")


def test_the_checks_of_a_host_that_is_refused_are_recorded(plan, host):
    host.response = PreflightResponse(facts=measured(), checks=CHECKS)
    with pytest.raises(HostError):
        preflight.preflight(plan, "host-b")
    [checkup] = checkups.of_run("manual__1")
    assert (checkup.host, checkup.facts.hostname) == ("host-b", "h")
    assert checkup.checks[:-1] == CHECKS
    assert (checkup.checks[-1].name, checkup.checks[-1].problem) == ("clock", None)


def test_a_second_try_replaces_the_checks_of_the_first(plan, host):
    host.response = PreflightResponse(facts=measured(), checks=CHECKS)
    with pytest.raises(HostError):
        preflight.preflight(plan, "host-b")
    host.response = PreflightResponse(facts=measured(), checks=[])
    preflight.preflight(plan, "host-b")
    assert [check.name for check in checkups.of_run("manual__1")[0].checks] == ["clock"]


def test_a_good_host_is_good_while_the_records_are_away(plan, host, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("SQLTUNE_DATABASE_URL", f"postgresql+psycopg2://me@/records?host={tmp_path}")
    assert preflight.preflight(plan, "host-b")["host"] == "host-b"
    assert "its checks are not recorded" in caplog.text


@pytest.mark.parametrize(("name", "expected"), [("host-a", 4), ("host-b", 0)])
def test_only_the_serving_host_needs_the_gpus_of_a_model_worker(plan, host, name, expected):
    plan["cluster"]["serving"] |= {"host": "host-a", "num_gpus": 4}
    preflight.preflight(plan, name)
    assert host.requests[0].serving_gpus == expected


@pytest.mark.parametrize(
    ("engine", "name", "expected"),
    [("vllm", "host-a", "0.32.0"), ("vllm", "host-b", None), ("batched", "host-a", None)],
)
def test_only_the_serving_host_needs_vllm(plan, host, engine, name, expected):
    plan["cluster"]["serving"] |= {"host": "host-a", "engine": engine}
    preflight.preflight(plan, name)
    assert host.requests[0].vllm == expected


@pytest.mark.parametrize(("name", "expected"), [("host-a", True), ("host-b", False)])
def test_only_the_master_needs_its_port(plan, host, name, expected):
    preflight.preflight(plan, name)
    assert host.requests[0].is_master is expected


def test_the_masters_address(plan):
    assert preflight.master_ip(plan, [facts("host-b"), facts("host-a")]) == "10.0.0.1"


def test_hosts_that_differ_are_named(plan):
    different = facts("host-b", base_model_hash="other", versions={"torch": "2.9"})
    with pytest.raises(
        HostError,
        match=r"(?s)base_model_hash differs .*host-b: \{'hash': 'other'\}.*versions differs .*"
        r"host-b: \{'torch': '2.9'\}",
    ):
        preflight.master_ip(plan, [facts("host-a"), different])
