"""`python -m bench.gpu`, run without a card: what it records, and what it does about a part that fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.gpu import __main__ as gpu
from bench.gpu import fixtures, pack, parts, report
from tests.conftest import NODE_PYTHON, ROOT
from tests.waiting import wait_until

RECORDED = ROOT / "tests/ssh_gang/gpus"
APPS = "nvidia-smi --query-compute-apps=pid,process_name,used_memory --format=csv,noheader"
WITHOUT_CARDS = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}


def bench(*arguments: str, python: Path | str = NODE_PYTHON) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-m", "bench.gpu", *arguments],
        cwd=ROOT,
        env=os.environ | WITHOUT_CARDS | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch) -> None:
    """A tool that answers as on a host with eight cards, and fails when it is asked for processes."""
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        "  *compute-apps*) echo 'no processes are counted' >&2; exit 9 ;;\n"
        "  *name,memory.total*) echo 'NVIDIA H200, 143771 MiB' ;;\n"
        f"  *) cat {RECORDED}/nvidia-smi.csv ;;\n"
        "esac\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")


@pytest.fixture
def queries(tmp_path, nvidia_smi) -> dict[str, Any]:
    """The outcome of the part `queries`, on the host with that tool."""
    return parts.run("queries", tmp_path, "cpu", 60)


@pytest.fixture
def result(queries) -> report.Result:
    machine = {"cards": [{"name": "NVIDIA H200"}], "driver": "580.1"}
    return {"device": "cuda", "parts": {"machine": {"status": "ok", "result": machine}, "queries": queries}}


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder of fixtures."""
    folder = tmp_path / "gpus"
    folder.mkdir()
    (folder / "README.md").write_text((RECORDED / "README.md").read_text())
    return folder


def test_without_a_card_it_ends_with_one_line(tmp_path, node_python):
    answer = bench("--out", str(tmp_path / "gpu.json"))
    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    assert line.startswith("no GPU: torch ")
    assert "finds no card; expected a card that torch.cuda sees (CUDA or ROCm): install" in line
    assert not (tmp_path / "gpu.json").exists()


def test_the_all_reduce_is_the_hosts_own(tmp_path, node_python):
    answer = bench("--cpu", "--out", str(tmp_path / "gpu.json"), "all_reduce")
    assert answer.returncode == 0, answer.stderr
    measured = json.loads((tmp_path / "gpu.json").read_text())["parts"]["all_reduce"]["result"]
    assert (measured["world_size"], measured["backend"], measured["mebibytes"]) == (2, "gloo", 16)


@pytest.mark.chaos
def test_every_part_that_needs_no_card_runs_on_the_cpu(tmp_path, node_python, nvidia_smi):
    answer = bench("--cpu", "--out", str(tmp_path / "gpu.json"))
    outcomes = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    ok = {name for name, outcome in outcomes.items() if outcome["status"] == "ok"}
    assert ok == set(parts.PARTS) - {"training_ddp"}, answer.stderr + str(outcomes)
    assert outcomes["training_zero2"]["result"]["iterations"] == 4
    assert "0 of 4" in answer.stdout.splitlines()[-1]


def test_each_query_of_the_project_is_recorded(queries):
    calls = queries["result"]["calls"]
    assert [call["query"] for call in calls] == ["list", "processes", "gang-processes", "samples"]
    assert " ".join(calls[2]["command"]) == APPS


def test_a_query_is_recorded_byte_for_byte(queries):
    _, processes, _, samples = queries["result"]["calls"]
    assert samples["stdout"] == (RECORDED / "nvidia-smi.csv").read_text()
    assert (processes["exit_code"], processes["stderr"]) == (9, "no processes are counted\n")


def test_what_the_project_reads_is_recorded(queries):
    assert queries["result"]["read"]["samples"][0] == "gpu0 100 % 130013/143771 MiB"


def test_fixtures_have_the_cards_name(result, folder):
    """The gang's list of processes is the same command as preflight's, and no second file."""
    files = [file.name for file in fixtures.write(result, folder)]
    names = ["list.csv", "processes.csv", "processes-stderr.txt", "samples.csv"]
    assert files == [f"nvidia-h200-{name}" for name in names]
    assert (folder / "nvidia-h200-samples.csv").read_text() == (RECORDED / "nvidia-smi.csv").read_text()


def test_fixtures_are_described_once(result, folder):
    fixtures.write(result, folder)
    fixtures.write(result, folder)
    lines = [s for s in (folder / "README.md").read_text().splitlines() if "nvidia-h200-processes.csv" in s]
    source = "a host with 1 x NVIDIA H200, driver 580.1, by `python -m bench.gpu`; exit code 9"
    assert lines == [f"| nvidia-h200-processes.csv | `{APPS}` | {source} |"]


def test_fixtures_need_recorded_queries(result, folder):
    result["parts"]["queries"] = {"status": "left out", "error": "no tool is on PATH"}
    with pytest.raises(SystemExit, match="no tool is on PATH; expected its recorded calls"):
        fixtures.write(result, folder)


def test_a_missing_package_is_named(tmp_path):
    """The control plane's environment has no PyTorch."""
    outcome = parts.run("machine", tmp_path, "cpu", 60)
    assert outcome["status"] == "package missing"
    assert outcome["error"] == "not installed: torch"


def test_a_part_that_breaks_is_recorded_with_its_output(tmp_path):
    outcome = parts.run("nonsense", tmp_path, "cpu", 60)
    assert outcome["status"] == "failed"
    assert "KeyError: 'nonsense'" in outcome["error"]


def test_a_part_over_its_time_limit_is_recorded(tmp_path):
    outcome = parts.run("machine", tmp_path, "cpu", 0.0)
    assert outcome["status"] == "timed out"
    assert "not done after 0 s" in outcome["error"]


def test_a_process_of_a_part_is_ended_in_its_own_session_and_without_listening(monkeypatch):
    """As the ranks of torchrun are."""
    monkeypatch.setattr(parts, "GRACE", 0.2)
    command = ["bash", "-c", "trap '' TERM; echo ready; read -r line < <(sleep 60)"]
    process = subprocess.Popen(
        command, env=os.environ | {"BENCH_TEST": "1"}, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    parts.end("BENCH_TEST")
    wait_until(lambda: process.poll() is not None, 20)
    process.stdout.close()
    assert parts.marked("BENCH_TEST") == []


def test_an_unknown_part_lists_the_parts():
    answer = bench("nonsense", python=sys.executable)
    assert answer.returncode == 2
    assert "no part nonsense: choose from machine, queries, all_reduce" in answer.stderr


def test_a_file_that_is_no_result_is_refused(tmp_path):
    (tmp_path / "gpu.json").write_text('{"parts": []}')
    with pytest.raises(SystemExit, match="gpu.json .*: expected a result of `python -m bench.gpu --out "):
        gpu.read(tmp_path / "gpu.json")


def test_the_table_says_what_came_of_each_part():
    result: report.Result = {
        "parts": {
            "machine": {"status": "ok", "result": {"cards": [{"name": "A"}, {"name": "A"}], "driver": "1"}},
            "training_zero2": {
                "status": "ok",
                "result": {"seconds_per_iteration": 0.25, "peak_memory_mib": 700, "ranks": 2},
            },
            "training_ddp": {"status": "timed out", "error": "not done"},
        }
    }
    result["parts"]["machine"]["result"] |= {"torch": "2.13", "cuda": "13.0", "rocm": None}
    lines = report.table(result).splitlines()
    assert lines[0] == "| measure | 2 x A |"
    assert "| training, zero2 | 0.250 s an iteration, 700 MiB at most, 2 ranks |" in lines
    assert "| training, ddp | timed out |" in lines
    assert "| training, zero3_offload | not run |" in lines


def test_the_docs_have_the_tables_lines():
    lines = report.table({"parts": {"machine": {"status": "not run"}}}).splitlines()[2:]
    documented = (ROOT / "docs/benchmarks.md").read_text()
    assert [line for line in lines if f"{line.rpartition('| ')[0]}|" not in documented] == []


def test_wheels_are_those_of_the_hosts_without_pytorch():
    lines = pack.required("3.12").splitlines()
    assert "transformers==4.48.0" in lines
    assert not [line for line in lines if line.startswith("torch=")]


def test_wheels_for_a_python_that_is_too_old_for_some_are_at_most_as_new():
    assert "numpy<=" in pack.required("3.10")
