"""Files of the model workers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_servers.worker import Worker, WorkerFiles, program_name


def test_a_worker_is_read_as_it_was_written(tmp_path):
    worker = Worker(names=["text2sql"], model="/m", port=1, num_gpus=4, max_gpu_memory="15GiB")
    files = WorkerFiles(tmp_path)
    files.put("worker-text2sql-1", worker)
    assert files.all() == {"worker-text2sql-1": worker}


def test_a_file_of_the_first_version_has_one_name(tmp_path):
    """A lab that served while the code was renewed failed with KeyError."""
    write(tmp_path, "old", name="text2sql")
    write(tmp_path, "new", names=["candidate"])
    names = {program: w.names for program, w in WorkerFiles(tmp_path).all().items()}
    assert names == {"old": ["text2sql"], "new": ["candidate"]}


def test_a_file_of_an_older_version_uses_one_gpu(tmp_path):
    write(tmp_path, "old", names=["text2sql"])
    assert WorkerFiles(tmp_path).all()["old"].num_gpus == 1


def test_a_file_of_an_older_version_is_fastchats(tmp_path):
    write(tmp_path, "old", names=["text2sql"])
    assert WorkerFiles(tmp_path).all()["old"].engine_label == "fastchat float16"


def test_another_model_has_another_program(stack):
    assert stack.program("text2sql", "/a") != stack.program("text2sql", "/b")


def test_a_worker_on_fastchat_has_the_program_that_it_always_had(stack):
    settings = stack.settings.model_copy(update={"engine": "fastchat"})
    assert program_name("text2sql", "/a", settings) == "worker-text2sql-6a50dc85"


@pytest.mark.parametrize(
    "changes",
    [
        {"engine": "fastchat"},
        {"engine": "vllm"},
        {"deterministic": True},
        {"dtype": "float32"},
        {"base_model": "/base"},
    ],
)
def test_a_model_on_another_engine_has_another_program(stack, changes):
    other = stack.settings.model_copy(update=changes)
    assert program_name("text2sql", "/a", other) != program_name("text2sql", "/a", stack.settings)


def test_a_batched_worker_has_the_program_that_it_always_had(stack):
    assert program_name("text2sql", "/a", stack.settings) == "worker-text2sql-8f14c183"


@pytest.mark.parametrize("changes", [{"cache_gib": 3.0}, {"num_gpus": 2}, {"max_gpu_memory": "15GiB"}])
def test_a_batched_model_that_is_loaded_otherwise_has_another_program(stack, changes):
    """A promotion took the running worker: serving.cache_gib could not be raised."""
    other = stack.settings.model_copy(update=changes)
    assert program_name("text2sql", "/a", other) != program_name("text2sql", "/a", stack.settings)


def test_how_fastchat_loads_is_not_in_its_program(stack):
    settings = stack.settings.model_copy(update={"engine": "fastchat", "num_gpus": 4})
    assert program_name("text2sql", "/a", settings) == "worker-text2sql-6a50dc85"


def write(folder: Path, program: str, **fields: object) -> None:
    path = folder / "workers" / f"{program}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"model": "/m", "port": 1, "dtype": "float16", "device": "cpu"} | fields))


def test_a_file_of_an_older_version_is_a_whole_model_with_a_process_of_its_own(tmp_path):
    write(tmp_path, "old", names=["text2sql"])
    worker = WorkerFiles(tmp_path).all()["old"]
    assert (worker.base, worker.process) == ("", "")
    assert "unmerged" not in worker.engine_label
