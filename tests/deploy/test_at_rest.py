"""A deployment on a real engine while nothing runs: its memory, its secrets, what it listens on."""

from __future__ import annotations

import json

import pytest

from tests.deploy import measured
from tests.waiting import wait_until

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1500)]


def test_it_is_small_while_nothing_runs(stack, shape):
    used = stack.memory()
    measured.note(stack.folder.name, "idle MiB", round(sum(used.values())), used)
    assert sum(used.values()) < shape.idle_mib, used


def test_no_dag_fails_to_import(airflow):
    assert airflow.get("/importErrors")["import_errors"] == []


def test_no_secret_can_be_inspected_or_is_in_a_log(stack, airflow):
    names = stack.compose("ps", "--all", "--quiet").split()
    shown = stack.engine.docker("inspect", *names) + stack.compose("logs", "--no-color")
    assert [name for name, value in stack.secrets.items() if value in shown] == []


def test_only_loopback_and_what_env_names_listen(stack):
    containers = json.loads(stack.engine.docker("inspect", *stack.compose("ps", "--all", "--quiet").split()))
    published = [ports for c in containers for ports in c["NetworkSettings"]["Ports"].values() if ports]
    named = {stack.settings["PRIVATE_BIND"]} if "PRIVATE_BIND" in stack.settings else set()
    assert {port["HostIp"] for ports in published for port in ports} == {"127.0.0.1"} | named


def test_what_airflow_keeps_for_too_long_is_removed(stack):
    """Once: it would begin again and again if Airflow's command failed."""
    container = stack.container("cleanup")
    wait_until(lambda: "sleep 1d" in stack.engine.docker("top", container, "-eo", "pid,args"), 120, pause=1)
    assert "removed 0 files of task logs" in stack.engine.docker("logs", container)
    assert stack.engine.docker("inspect", "--format", "{{.RestartCount}}", container).strip() == "0"


def test_no_program_of_ours_runs_as_root(stack, shape):
    for service in set(shape.services) - {"postgres", "redis"}:
        lines = stack.engine.docker("top", stack.container(service), "-eo", "pid,uid").splitlines()[1:]
        assert {line.split()[1] for line in lines} == {"1000"}, lines
