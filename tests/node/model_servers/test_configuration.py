"""supervisor's configuration, and the command lines in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_servers.configuration import Layout, configuration, worker_command
from model_servers.worker import Worker

LAYOUT = Layout(
    folder=Path("/code/serving"),
    socket="/tmp/sqltune.sock",
    api_socket="/tmp/sqltune-api.sock",
    python="/code/node-env/bin/python",
    bind="10.0.0.1",
    controller_port=21001,
    api_port=8000,
    scripts=Path("/code/serving/bin"),
)
WORKER = Worker(
    names=["text2sql"],
    model="/code/runs/r1/merged",
    bind="127.0.0.1",
    port=21002,
    dtype="float16",
    device="cuda",
)


def test_configuration_of_one_worker(golden):
    golden("supervisord.conf", configuration(LAYOUT, {"worker-text2sql-1": WORKER}))


def test_a_model_on_several_gpus_is_passed_to_fastchat():
    worker = WORKER.model_copy(update={"num_gpus": 4, "max_gpu_memory": "15GiB"})
    command = " ".join(worker_command(LAYOUT, "worker-text2sql-1", worker))
    assert command.endswith(" --num-gpus 4 --max-gpu-memory 15GiB")


def test_a_model_on_one_gpu_leaves_fastchats_default():
    """Another command would make supervisor restart a worker that an older version of the code started."""
    command = worker_command(LAYOUT, "worker-text2sql-1", WORKER)
    assert "--num-gpus" not in command
    assert "--max-gpu-memory" not in command


def test_a_batched_worker_is_the_copied_script():
    worker = WORKER.model_copy(update={"engine": "batched"})
    command = " ".join(worker_command(LAYOUT, "worker-text2sql-1", worker))
    assert command.startswith("/code/node-env/bin/python /code/serving/bin/batched_worker.py --model-path ")
    assert "--deterministic" not in command
    assert "--cache-gib" not in command


def test_the_settings_of_a_batched_worker_are_passed_to_it():
    changes = {"engine": "batched", "deterministic": True, "cache_gib": 1.5, "num_gpus": 2}
    command = " ".join(worker_command(LAYOUT, "w", WORKER.model_copy(update=changes)))
    assert command.endswith(" --num-gpus 2 --cache-gib 1.5 --deterministic")


def test_the_settings_of_vllm_are_passed_to_its_worker():
    changes = {"engine": "vllm", "cache_gib": 1.5, "num_gpus": 2}
    command = " ".join(worker_command(LAYOUT, "w", WORKER.model_copy(update=changes)))
    assert command.startswith("/code/node-env/bin/python /code/serving/bin/vllm_worker.py --model-path ")
    assert command.endswith(" --dtype float16 --device cuda --num-gpus 2 --cache-gib 1.5")


@pytest.mark.parametrize(("threads", "expected"), [(0, False), (2, True)])
def test_threads_of_a_worker_are_set_where_they_are_given(threads, expected):
    worker = WORKER.model_copy(update={"threads": threads})
    text = configuration(LAYOUT, {"worker-text2sql-1": worker})
    assert (f'environment=OMP_NUM_THREADS="{threads}"' in text) is expected


def test_a_percent_sign_is_doubled_for_supervisor():
    worker = WORKER.model_copy(update={"model": "/code/100%"})
    assert "/code/100%% " in configuration(LAYOUT, {"w": worker})


@pytest.mark.parametrize(("engine", "end"), [("batched", ""), ("vllm", " --max-lora-rank 64")])
def test_a_base_model_with_adapters_is_told_where_their_files_are(engine, end):
    changes = {"base": "/code/base", "process": "base-1", "engine": engine, "model": "/code/runs/r1/adapter"}
    worker = WORKER.model_copy(update=changes | ({"lora_rank": 64} if engine == "vllm" else {}))
    command = " ".join(worker_command(LAYOUT, "base-1", worker))
    assert " --model-path /code/base --model-names base-1 " in command
    assert command.endswith(f" --adapters /code/serving/workers{end}")
