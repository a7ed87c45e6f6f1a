"""The real processes: a switch and a rollback under load, killed processes, keys, an upgraded host."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from model_servers.stack import Stack
from sqltune.node_contracts.serving import SERVING, Adapters, Engine
from tests.conftest import NODE_PYTHON, ROOT
from tests.node.load import under_load
from tests.node.served import KEY, NAME, Served, command, make_adapter


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Model servers of the batched engine with model a."""
    with model_servers(tmp_path_factory.mktemp("served"), "batched") as servers:
        yield servers


@pytest.fixture(scope="module")
def served_by_fastchat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The same with FastChat's engine."""
    with model_servers(tmp_path_factory.mktemp("fastchat"), "fastchat") as servers:
        yield servers


@pytest.fixture(scope="module")
def served_by_vllm(tmp_path_factory: pytest.TempPathFactory, vllm_python: Path) -> Iterator[Served]:
    """The same with vLLM's engine."""
    with model_servers(tmp_path_factory.mktemp("vllm"), "vllm") as servers:
        yield servers


@pytest.fixture(scope="module")
def served_unmerged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Model servers of the batched engine with adapter a of a base model."""
    with model_servers(tmp_path_factory.mktemp("unmerged"), "batched", "unmerged") as servers:
        yield servers


@pytest.fixture(scope="module")
def served_unmerged_by_vllm(tmp_path_factory: pytest.TempPathFactory, vllm_python: Path) -> Iterator[Served]:
    """The same with vLLM's engine."""
    with model_servers(tmp_path_factory.mktemp("vllm-unmerged"), "vllm", "unmerged") as servers:
        yield servers


@contextmanager
def model_servers(folder: Path, engine: Engine, adapters: Adapters = "merged") -> Iterator[Served]:
    """Model servers with model a; afterwards no process and no stray log of theirs is left."""
    servers = Served(folder, bind="127.0.0.2", engine=engine, adapters=adapters)
    servers.make_models()
    servers.run("switch", model=servers.models["a"], version=1)
    yield servers
    servers.run("down")
    left = [p for p in Path("/proc").glob("[0-9]*") if str(folder).encode() in command(p)]
    assert not left, [command(p) for p in left]
    # FastChat would write logs to the working directory it is started from.
    assert not [
        *Path.cwd().glob("model_worker*.log"),
        *Path.cwd().glob("openai_api_server.log"),
        *Path.cwd().glob("controller.log"),
    ]


# Two hundred requests without a pause leave the new model little of two cores to load with: three minutes.
@pytest.mark.parametrize(
    ("servers", "at_once", "pause"),
    [
        ("served", 20, 0.5),
        pytest.param("served", 200, 0, marks=pytest.mark.chaos),
        pytest.param("served_by_fastchat", 20, 0.5, marks=pytest.mark.chaos),
        pytest.param("served_by_fastchat", 200, 0, marks=pytest.mark.chaos),
        pytest.param("served_by_vllm", 20, 0.5, marks=pytest.mark.chaos),
        pytest.param("served_by_vllm", 200, 0, marks=pytest.mark.chaos),
        ("served_unmerged", 20, 0.5),
        pytest.param("served_unmerged", 200, 0, marks=pytest.mark.chaos),
        pytest.param("served_unmerged_by_vllm", 20, 0.5, marks=pytest.mark.chaos),
        pytest.param("served_unmerged_by_vllm", 200, 0, marks=pytest.mark.chaos),
    ],
)
def test_no_request_fails_across_a_switch_and_a_rollback(request, servers, at_once, pause):
    served: Served = request.getfixturevalue(servers)
    answers = {"a": served.until_it_answers()}
    versions = {"a": "1", "b": "2"}
    for old, new in (("a", "b"), ("b", "a")):
        switch = partial(served.start, "switch", model=served.models[new], version=int(versions[new]))
        load = asyncio.run(under_load(served, switch, at_once, pause))
        replies, switched = load.replies, load.switched
        out, err = load.process.communicate()
        assert load.process.returncode == 0, out + err
        response = SERVING.read(out)
        assert response.serving == {NAME: served.models[new]}
        assert len(response.replaced) == 1
        answers.setdefault(new, served.until_it_answers())
        assert answers[old] != answers[new], "the two models cannot be distinguished"
        wrong = [reply for reply in replies if reply.text not in answers.values()]
        assert len(replies) > at_once
        assert not wrong, wrong[:3]
        assert {r.text for r in replies if r.sent > switched} == {answers[new]}, "the old model answers still"
        named = {answers[model]: versions[model] for model in (old, new)}
        assert not [r for r in replies if r.version != named[r.text]], "the header names another model"
        assert {r.text for r in replies if r.received < load.began} == {answers[old]}
        assert [r for r in replies if r.sent < load.began < r.received], "none was in flight"
        last_of_old = max(r.sent for r in replies if r.text == answers[old])
        moved = last_of_old - min(r.sent for r in replies if r.text == answers[new])
        label = response.engines[NAME]
        print(f"{label}, {at_once} at once: {len(replies)} answers, moved in {moved:.2f} s")


def test_a_switch_to_another_engine_replaces_the_worker_of_the_same_model(served):
    served.until_it_answers()
    for engine in ("fastchat", "batched"):
        process = served.start("switch", model=served.models["a"], engine=engine)
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, out + err
        response = SERVING.read(out)
        assert response.serving == {NAME: served.models["a"]}
        assert response.engines[NAME].startswith(engine)
        assert len(response.replaced) == 1
        assert served.until_it_answers()


@pytest.fixture
def unusable_model(request, tmp_path) -> str:
    """A folder that holds no model, or half of one."""
    folder = tmp_path / "model"
    if request.param == "half a model":
        folder.mkdir()
        config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
        (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.mark.parametrize(
    ("unusable_model", "messages"),
    [
        ("half a model", ("did not answer within", "ends as soon as it is started")),
        ("no model", ("holds no model",)),
    ],
    indirect=["unusable_model"],
)
def test_a_model_that_does_not_answer_leaves_the_old_one_serving(served, unusable_model, messages):
    before = served.until_it_answers()
    process = served.start("switch", model=unusable_model, ready_timeout=15)
    _, err = process.communicate(timeout=120)
    assert process.returncode
    assert any(message in err for message in messages), err[-500:]
    assert served.until_it_answers() == before
    assert served.run("status").serving == {NAME: served.models["a"]}


def test_a_switch_that_is_cut_off_is_finished_by_the_next(served):
    """Killed while the old worker drains, as when an Airflow worker dies: both run, and one is replaced."""
    process = served.start("switch", model=served.models["b"])
    deadline = time.monotonic() + 120
    while sorted(served.names()) != [(), (NAME,)]:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert served.run("switch", model=served.models["a"]).serving == {NAME: served.models["a"]}
    assert len(served.names()) == 1
    assert served.until_it_answers()


def test_a_model_that_answers_under_its_own_name_only_gives_the_public_name_back(served):
    """The probe after the move of the name is made to fail: the old worker has the name again, alone."""
    before = served.until_it_answers()
    patched = """
import serving
right = serving.Stack.answer_error
serving.Stack.answer_error = lambda self, name: "injected" if name == "text2sql" else right(self, name)
serving.SERVING.main(serving.handle)
"""
    process = served.start("switch", script=["-c", patched], model=served.models["b"])
    _, err = process.communicate(timeout=120)
    assert process.returncode
    assert "not under this one (injected); the old model serves on" in err, err[-500:]
    assert served.until_it_answers() == before
    assert served.run("status").serving == {NAME: served.models["a"]}
    assert len(served.names()) == 1


@pytest.mark.parametrize("program", ["controller", "api", "door", "registrar", "worker"])
def test_a_killed_process_is_restarted(served, program):
    before = served.until_it_answers()
    name = served.worker if program == "worker" else program
    pid = served.pid(name)
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while served.pid(name) in (0, pid):
        assert time.monotonic() < deadline, f"{name} is not restarted"
        time.sleep(0.1)
    assert served.until_it_answers() == before


def test_a_killed_supervisor_is_replaced_by_one_that_has_its_ports(served):
    """Its programs hold the ports, and hang once their output is not read: the next one restarts them."""
    before, programs = served.until_it_answers(), ("controller", "api", "door", "registrar", served.worker)
    orphans = [served.pid(program) for program in programs]
    os.kill(int((served.folder / "serving/supervisord.pid").read_text()), signal.SIGKILL)
    assert served.run("up", model=served.models["a"]).serving == {NAME: served.models["a"]}
    assert served.until_it_answers() == before
    assert not [pid for pid in orphans if b"fastchat" in command(Path(f"/proc/{pid}"))]
    assert not {served.pid(program) for program in programs} & {0, *orphans}


def test_a_stream_comes_through_the_door(served):
    served.until_it_answers()
    answer = served.answer(stream=True)
    events = [event.removeprefix("data: ") for event in answer.text.strip().split("\n\n")]
    assert events[-1] == "[DONE]"
    assert {json.loads(event)["model"] for event in events[:-1]} == {NAME}


def test_the_host_is_healthy_while_the_public_name_is_served(served):
    served.until_it_answers()
    assert httpx.get(served.url.replace("/v1", "/health"), trust_env=False).json() == {"status": "ok"}


def test_a_request_with_another_key_is_refused(served):
    assert served.answer(key="another").status_code == 401


def test_the_key_is_in_no_command_line(served):
    assert not [p for p in Path("/proc").glob("[0-9]*") if KEY.encode() in command(p)]


def test_no_key_is_in_a_file(served):
    files = [f for f in (served.folder / "serving").rglob("*") if f.is_file()]
    assert not [f for f in files if KEY.encode() in f.read_bytes()]


def test_the_servers_own_key_is_private(served):
    folder = served.folder / "serving"
    assert {(folder / name).stat().st_mode & 0o077 for name in (".", "internal_key", "door.json")} == {0}


def test_only_the_front_door_listens_at_the_public_address(served):
    assert served.public_ports() == {served.settings.api_port}


def test_the_api_behind_the_door_is_open_to_its_user_only(served):
    assert Path(Stack(served.settings).layout.api_socket).stat().st_mode & 0o077 == 0


def test_a_base_model_and_its_adapters_are_one_process(served_unmerged):
    """The candidate of an evaluation beside the champion, and both beside the base model."""
    served = served_unmerged
    texts = {NAME: served.until_it_answers()}
    pid = served.pid(served.worker)
    for name, model in (("candidate", "b"), ("base", "base")):
        response = served.run("up", model=served.models[model], name=name)
        assert response.serving[name] == served.models[model]
        assert response.engines[name] == "batched 1 bfloat16 unmerged"
        texts[name] = served.answer(model=name).json()["choices"][0]["text"]
    assert len(set(texts.values())) == 3
    assert served.processes() == [pid]
    for name in ("candidate", "base"):
        served.run("down", name=name)
    assert served.until_it_answers() == texts[NAME]
    assert served.pid(served.worker) == pid


def test_a_base_process_that_was_killed_has_its_adapters_again(served_unmerged):
    before = served_unmerged.until_it_answers()
    served_unmerged.run("up", model=served_unmerged.models["b"], name="candidate")
    other = served_unmerged.answer(model="candidate").json()["choices"][0]["text"]
    os.kill(served_unmerged.pid(served_unmerged.worker), signal.SIGKILL)
    assert served_unmerged.until_it_answers() == before
    assert served_unmerged.answer(model="candidate").json()["choices"][0]["text"] == other
    served_unmerged.run("down", name="candidate")


def test_an_adapter_of_another_model_is_refused_and_changes_nothing(served_unmerged, tmp_path):
    before, names = served_unmerged.until_it_answers(), served_unmerged.names()
    wide = _wide_model(tmp_path)
    make_adapter(wide, str(tmp_path / "adapter"), 1)
    process = served_unmerged.start("switch", model=str(tmp_path / "adapter"))
    _, err = process.communicate(timeout=60)
    assert process.returncode
    assert "does not fit the base model" in err
    assert "in the base model, and the adapter's is [" in err
    assert served_unmerged.names() == names
    assert served_unmerged.until_it_answers() == before


def test_a_base_model_that_has_changed_is_refused(served_unmerged):
    process = served_unmerged.start("switch", model=served_unmerged.models["b"], base_model_hash="another")
    _, err = process.communicate(timeout=60)
    assert process.returncode
    assert "was trained with another: bring its files back" in err


def test_a_switch_between_merged_and_unmerged_replaces_the_worker(served_unmerged):
    served, base = served_unmerged, served_unmerged.models["base"]
    unmerged = served.run("switch", model=served.models["a"])
    process = served.start("switch", model=base, base_model="")
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, out + err
    response = SERVING.read(out)
    assert response.engines[NAME] == "batched 1 bfloat16"
    assert response.serving == {NAME: base}
    assert served.run("switch", model=served.models["a"]).engines == unmerged.engines


def test_no_route_of_the_base_process_is_at_the_public_address(served_unmerged):
    assert served_unmerged.public_ports() == {served_unmerged.settings.api_port}


def _wide_model(folder: Path) -> str:
    script = ROOT / "tests/node/batching/small_model.py"
    target = str(folder / "wide")
    subprocess.run([NODE_PYTHON, script, target], check=True, capture_output=True)
    return target
