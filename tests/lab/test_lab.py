"""The lab's command line, hub and files: mistakes are reported before the long work."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import httpx
import pytest

from tests.conftest import ROOT, free_port


def run(verb: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lab", verb],
        cwd=ROOT,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    ("args", "expected"), [("{oops", "ARGS is not JSON"), ("[1]", "expected an object of form values")]
)
def test_bad_arguments_are_refused_before_anything_starts(tmp_path, args, expected):
    answer = run("demo", ARGS=args, SQLTUNE_LAB_STATE=str(tmp_path))
    assert answer.returncode == 1
    assert expected in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_dataset_is_refused(tmp_path):
    answer = run("demo", DATASET="spider", SQLTUNE_LAB_STATE=str(tmp_path))
    assert answer.returncode == 1
    assert "DATASET: 'spider' is not known" in answer.stderr


def test_missing_dusql_rows_name_the_variable(tmp_path):
    answer = run("demo", DATASET="dusql", SQLTUNE_DATA=str(tmp_path), SQLTUNE_LAB_STATE=str(tmp_path / "s"))
    assert answer.returncode == 1
    assert "set SQLTUNE_DATA" in answer.stderr


def test_a_taken_port_is_reported_first(tmp_path):
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        answer = run("lab", SQLTUNE_AIRFLOW_PORT=str(port), SQLTUNE_LAB_STATE=str(tmp_path))
    assert answer.returncode == 1
    assert f"port {port} is taken" in answer.stderr
    assert "SQLTUNE_AIRFLOW_PORT" in answer.stderr


def test_verbs_without_a_lab_name_the_command_that_starts_one(tmp_path):
    for verb in ("ask", "status"):
        answer = run(verb, SQLTUNE_LAB_STATE=str(tmp_path))
        assert answer.returncode == 1
        assert "the lab is not up: make lab" in answer.stderr
    assert run("down", SQLTUNE_LAB_STATE=str(tmp_path)).stdout == "the lab is not up\n"


@pytest.mark.slow
def test_hosts_are_ports_on_loopback_without_namespaces(tmp_path):
    state = tmp_path / "lab"
    env = {
        "SQLTUNE_LAB_STATE": str(state),
        "SQLTUNE_LAB_LOOPBACK": "1",
        "SQLTUNE_AIRFLOW_PORT": str(free_port()),
    }
    data = tmp_path / "data"
    try:
        up = run("lab", SQLTUNE_DATA=str(data), **env)
        assert up.returncode == 0, up.stdout + up.stderr
        settings = json.loads((state / "lab.json").read_text())
        for host, port in settings["ssh_ports"].items():
            answer = subprocess.run(
                [
                    "ssh",
                    "-i",
                    state / "keys/id_ed25519",
                    "-o",
                    f"UserKnownHostsFile={state}/keys/known_hosts",
                    "-o",
                    "StrictHostKeyChecking=yes",
                    "-p",
                    str(port),
                    "127.0.0.1",
                    "echo $HOME",
                ],
                capture_output=True,
                text=True,
                timeout=30,
            )
            assert answer.stdout.strip() == f"{state}/hosts/{host}/home", answer.stderr
        # Data that came when the lab was up already: its hub had none, and a run of it failed.
        (data / "hub_dataset").mkdir(parents=True)
        (data / "hub_dataset/train.jsonl").write_text('{"question": "?"}\n')
        sets = []
        for folder in (tmp_path, data):
            assert run("lab", SQLTUNE_DATA=str(folder), **env).returncode == 0
            sets.append(
                sorted(httpx.get(f"http://127.0.0.1:{settings['hub_port']}/", trust_env=False).json())
            )
        # Beside the datasets the hub has the base models' tokenizers.
        labs = ["sqltune-lab/smollm2-135m", "sqltune-lab/text2sql_zh_en", "sqltune-lab/tiny"]
        assert sets == [labs, ["jtjt520j/CSpider_and_DUSQL_sql_create_context", *labs]]
    finally:
        assert "no process of the lab is left" in run("down", **env).stdout


def test_the_hub_serves_ranges(hub):
    from lab.settings import REPO

    url = f"{hub}/datasets/{REPO}/resolve/main/train.jsonl"
    whole = httpx.get(url, trust_env=False).content
    part = httpx.get(url, headers={"Range": "bytes=100-"}, trust_env=False)
    assert part.status_code == 206
    assert part.content == whole[100:]
    assert part.headers["content-range"] == f"bytes 100-{len(whole) - 1}/{len(whole)}"
    assert httpx.get(url, headers={"Range": f"bytes={len(whole)}-"}, trust_env=False).status_code == 416


def test_the_lock_holds_the_required_packages_without_torch_and_zhipuai():
    locked = {
        re.split(r"[=<>\[ ]", line)[0]
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if "==" in line and not line.startswith((" ", "#"))
    }
    required = {
        re.split(r"[=<>\[ ]", line)[0].strip()
        for line in (ROOT / "requirements.in").read_text().splitlines()
        if line.strip() and not line.startswith("#")
    }
    assert {name.lower().replace("_", "-") for name in required} <= {
        name.lower().replace("_", "-") for name in locked
    }
    # torch is not needed beside Airflow, and zhipuai cannot be installed there.
    assert not locked & {"torch", "zhipuai"}
