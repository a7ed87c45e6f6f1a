"""Starting and stopping, without a model."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading

import pytest

import model_servers.stack
from door.settings import Limits, SettingsFile, digest
from model_servers.supervisor import Supervisor
from model_servers.worker import Worker
from sqltune.node_contracts.serving import RequestLimits

PROGRAM = "worker-text2sql-1"


def put(stack, program: str = PROGRAM) -> None:
    stack.files.put(program, Worker(names=["text2sql"], model="/m", port=1))


def test_a_controller_that_does_not_come_up_takes_no_worker_with_it(stack, monkeypatch):
    """Removing a worker applies the rest, which waits for the controller: this recursed without end."""
    put(stack)
    monkeypatch.setattr(stack, "apply", lambda: pytest.fail("applied again"))
    monkeypatch.setattr(Supervisor, "running", lambda self: True)
    with pytest.raises(SystemExit, match="controller does not listen"):
        stack.fail("controller", "controller does not listen")
    assert list(stack.workers()) == [PROGRAM]


def test_a_worker_that_served_before_a_failed_call_is_kept(stack, monkeypatch):
    put(stack)
    monkeypatch.setattr(stack, "apply", lambda: pytest.fail("applied again"))
    stack.serving_before = PROGRAM
    with pytest.raises(SystemExit, match="does not answer"):
        stack.fail(PROGRAM, "does not answer")
    assert list(stack.workers()) == [PROGRAM]


@pytest.mark.parametrize("field", ["controller_port", "api_port"])
def test_a_port_in_use_is_named_before_anything_is_started(stack, field):
    """A foreign server was once taken for the controller, and the workers were registered with it."""
    port = stack.settings.model_dump()[field]
    message = rf"cannot listen on 127.0.0.1:{port} \(Address already in use\).*serving.{field}"
    with socket.create_server(("127.0.0.1", port)), pytest.raises(SystemExit, match=message):
        stack.apply()
    assert not stack.supervisor.running()
    assert not (stack.layout.folder / "supervisord.pid").exists()


def test_an_older_node_environment_is_named_before_anything_is_stopped(stack, monkeypatch):
    monkeypatch.setattr(model_servers.stack, "_DOOR_NEEDS", ("httpx", "no_such_module"))
    with pytest.raises(SystemExit, match=r"has no no_such_module, .*: run include/node/bootstrap.sh"):
        stack.apply()
    assert not stack.layout.configuration_file.exists()


def test_the_public_name_of_another_model_is_not_taken_back(stack):
    """A run that evaluates the champion it began with once undid a promotion that was made meanwhile."""
    put(stack)
    message = r"text2sql is /m on fastchat float16 by now, and not /old on batched 1 bfloat16: .*clear"
    with pytest.raises(SystemExit, match=message):
        stack.up("text2sql", "/old")
    assert list(stack.workers()) == [PROGRAM]
    assert not stack.layout.configuration_file.exists()


def test_a_model_that_could_not_be_started_leaves_no_worker(stack):
    """The next call would have loaded it, for nobody."""
    put(stack)
    with (
        socket.create_server(("127.0.0.1", stack.settings.api_port)),
        pytest.raises(SystemExit, match="cannot listen on"),
    ):
        stack.up("candidate-1", "/other")
    assert list(stack.workers()) == [PROGRAM]


def test_a_model_that_could_not_be_started_leaves_no_supervisor(stack, supervisor, monkeypatch):
    monkeypatch.setattr(model_servers.stack, "CONTROLLER_TIMEOUT", 0)
    with pytest.raises(SystemExit, match="controller does not listen"):
        stack.up("candidate-1", "/other")
    assert not supervisor.running()


def test_a_worker_that_was_there_before_a_refused_call_stays(stack):
    program = stack.program("text2sql", "/m")
    put(stack, program)
    with (
        socket.create_server(("127.0.0.1", stack.settings.api_port)),
        pytest.raises(SystemExit, match="cannot listen on"),
    ):
        stack.up("text2sql", "/m")
    assert list(stack.workers()) == [program]


def test_the_keys_reach_the_front_door_as_hashes(stack, monkeypatch):
    monkeypatch.setenv("SQLTUNE_API_KEY", "web:a,batch:b")
    stack.write()
    settings = SettingsFile(stack.layout.folder).current()
    assert settings.keys == {"web": digest("a"), "batch": digest("b")}


@pytest.fixture
def with_keys(stack, monkeypatch):
    """Model servers that have been called with a key once, and are called without one now."""
    stack.settings = stack.settings.model_copy(update={"requires_key": True})
    monkeypatch.setenv("SQLTUNE_API_KEY", "web:a")
    stack.write()
    monkeypatch.delenv("SQLTUNE_API_KEY")
    return stack


def test_a_call_without_the_key_keeps_the_keys(with_keys):
    """It opened the public address to everybody."""
    with_keys.write()
    assert SettingsFile(with_keys.layout.folder).current().keys == {"web": digest("a")}


def test_a_host_that_needs_a_key_and_never_had_one_is_closed(stack):
    stack.settings = stack.settings.model_copy(update={"requires_key": True})
    stack.write()
    assert SettingsFile(stack.layout.folder).current().requires_key


def test_no_key_is_needed_where_the_cluster_file_names_no_variable(with_keys):
    with_keys.settings = with_keys.settings.model_copy(update={"requires_key": False})
    with_keys.write()
    settings = SettingsFile(with_keys.layout.folder).current()
    assert (settings.keys, settings.requires_key) == ({}, False)


def test_nothing_is_served_without_a_key_where_one_is_needed(with_keys):
    with pytest.raises(
        SystemExit, match="SQLTUNE_API_KEY is empty, .*: set the variable that serving.api_key"
    ):
        with_keys.up("candidate-1", "/other")
    assert with_keys.workers() == {}


def test_a_model_is_stopped_without_a_key(with_keys):
    put(with_keys)
    with_keys.down("text2sql")
    assert with_keys.workers() == {}


def test_the_copy_of_the_front_door_runs_alone(stack):
    """It lies beside the servers, whatever version of the code is used next."""
    stack.write()
    scripts = stack.layout.scripts
    code = "import sys; sys.path.insert(0, sys.argv[1]); import front_door; print(front_door.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code, scripts], capture_output=True, text=True, check=True, cwd=scripts
    )
    assert done.stdout.strip() == str(scripts / "front_door.py")


def test_the_limits_reach_the_front_door(stack):
    limits = RequestLimits(requests=9, body_kib=7)
    stack.settings = stack.settings.model_copy(update={"limits": limits, "log_prompts": True})
    stack.write()
    settings = SettingsFile(stack.layout.folder).current()
    assert (settings.limits, settings.log_prompts) == (Limits(requests=9, body_kib=7), True)


def test_a_worker_of_an_older_version_keeps_its_address(stack):
    """Its command names the address; with another command supervisor would restart it."""
    stack.settings = stack.settings.model_copy(update={"bind": "127.0.0.2"})
    put(stack)
    stack.write()
    assert stack.workers()[PROGRAM].url == "http://127.0.0.2:1"


def test_a_range_without_a_free_port_is_named(stack):
    first = stack.settings.worker_ports[0]
    stack.settings = stack.settings.model_copy(update={"worker_ports": (first, first)})
    with (
        socket.create_server(("127.0.0.1", first)),
        pytest.raises(SystemExit, match=rf"no free port on 127.0.0.1 between {first} and {first}"),
    ):
        stack.add(PROGRAM, "text2sql", "/m")


def test_a_new_worker_has_the_settings_of_its_gpus(stack):
    stack.settings = stack.settings.model_copy(update={"num_gpus": 4, "max_gpu_memory": "15GiB"})
    stack.add(PROGRAM, "text2sql", "/m")
    worker = stack.workers()[PROGRAM]
    assert (worker.num_gpus, worker.max_gpu_memory) == (4, "15GiB")


def test_a_new_worker_has_the_settings_engine(stack):
    stack.settings = stack.settings.model_copy(update={"deterministic": True, "cache_gib": 3.0})
    stack.add(PROGRAM, "text2sql", "/m")
    worker = stack.workers()[PROGRAM]
    assert worker.engine_label == stack.settings.engine_label == "batched 1 bfloat16 deterministic"
    assert worker.cache_gib == 3.0


def test_without_vllm_nothing_is_started(stack, monkeypatch, tmp_path):
    monkeypatch.setattr("model_servers.stack.environment", lambda: tmp_path)
    stack.settings = stack.settings.model_copy(update={"engine": "vllm"})
    with pytest.raises(
        SystemExit, match="serving.engine vllm needs 0.32.0: run `bash include/node/bootstrap.sh"
    ):
        stack.add(PROGRAM, "text2sql", "/m")
    assert stack.workers() == {}


def test_a_worker_on_vllm_has_its_version(stack, monkeypatch):
    monkeypatch.setattr("model_servers.stack.version_problem", lambda *_: None)
    stack.settings = stack.settings.model_copy(update={"engine": "vllm"})
    stack.add(PROGRAM, "text2sql", "/m")
    assert stack.workers()[PROGRAM].engine_label == stack.settings.engine_label == "vllm 0.32.0 bfloat16"


def test_a_model_that_is_served_is_not_started_again_to_be_loaded_otherwise(stack):
    """An evaluation of the champion would have two workers under its public name."""
    program = stack.program("text2sql", "/m")
    stack.add(program, "text2sql", "/m")
    stack.settings = stack.settings.model_copy(update={"cache_gib": 3.0})
    assert stack.serving("text2sql", "/m") == program


@pytest.mark.parametrize("changes", [{"deterministic": True}, {"engine": "fastchat"}])
def test_a_model_on_another_engine_is_not_what_is_wanted(stack, changes):
    stack.add(stack.program("text2sql", "/m"), "text2sql", "/m")
    stack.settings = stack.settings.model_copy(update=changes)
    assert stack.serving("text2sql", "/m") is None


def test_a_worker_keeps_the_engine_that_it_was_started_with(stack):
    put(stack)
    stack.add(PROGRAM, "text2sql", "/m")
    assert stack.workers()[PROGRAM].engine == "fastchat"


def test_the_batched_worker_is_copied_with_its_package(stack):
    stack.write()
    copied = {str(p.relative_to(stack.layout.scripts)) for p in stack.layout.scripts.rglob("*.py")}
    assert {"batched_worker.py", "batching/engine.py", "registrar.py"} <= copied


def test_the_last_worker_is_removed_once_its_supervisor_has_ended(stack, monkeypatch):
    """supervisord removes its socket first and ends a moment later: it was still alive after `down`."""
    ending = subprocess.Popen(["sleep", "60"])
    shutdown = threading.Timer(0.3, ending.kill)
    answers = {"getPID": lambda: ending.pid, "shutdown": shutdown.start}
    monkeypatch.setattr(Supervisor, "running", lambda self: True)
    monkeypatch.setattr(Supervisor, "_call", lambda self, method: answers[method]())
    stack.remove(PROGRAM)
    assert ending.poll() == -signal.SIGKILL
