"""The real processes: a switch and a rollback under load, killed processes, keys, an upgraded host."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from model_servers.stack import Stack
from sqltune.node_contracts.serving import SERVING, Engine
from tests.node.served import BODY, KEY, NAME, Served, command


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


@contextmanager
def model_servers(folder: Path, engine: Engine) -> Iterator[Served]:
    """Model servers with model a; afterwards no process and no stray log of theirs is left."""
    servers = Served(folder, bind="127.0.0.2", engine=engine)
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


@dataclass(frozen=True)
class Reply:
    """One request under load: when it was sent and answered, and the text or the failure."""

    sent: float
    received: float
    text: str
    version: str = ""


async def _under_load(
    served: Served, process: subprocess.Popen[str], at_once: int, pause: float
) -> tuple[list[Reply], float]:
    """Send requests until some that were sent after the process had ended are answered.

    Returns:
        The replies, and the time at which the process had ended.
    """
    replies: list[Reply] = []
    switched = math.inf
    enough = asyncio.Event()

    async def send_repeatedly(client: httpx.AsyncClient) -> None:
        while not enough.is_set():
            sent = time.monotonic()
            text, version = await _completion(client, served.url)
            replies.append(Reply(sent, time.monotonic(), text, version))
            # Two hundred requests may wait for half a minute before one of them is sent again.
            if sum(reply.sent > switched for reply in replies) >= 10:
                enough.set()
            await asyncio.sleep(pause)

    # The API closes a connection after 5 s without a request, and httpx uses it for 5 s: a request that is
    # sent just then fails, whatever is served.
    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once, keepalive_expiry=1)
    headers = {"Authorization": f"Bearer {KEY}"}
    async with (
        httpx.AsyncClient(timeout=120, limits=limits, headers=headers, trust_env=False) as client,
        asyncio.TaskGroup() as tasks,
    ):
        for _ in range(at_once):
            tasks.create_task(send_repeatedly(client))
        await asyncio.to_thread(process.wait)
        switched = time.monotonic()
        await enough.wait()
    return replies, switched


async def _completion(client: httpx.AsyncClient, url: str) -> tuple[str, str]:
    """The text, or the failure, and the version that the header names."""
    try:
        answer = await client.post(f"{url}/completions", json=BODY)
    except httpx.HTTPError as e:
        return f"failed: {e!r}", ""
    version = answer.headers.get("X-Model-Version", "")
    if answer.status_code == 200 and "choices" in answer.json():
        return str(answer.json()["choices"][0]["text"]), version
    return f"failed: {answer.status_code} {answer.text[:200]}", version


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
    ],
)
def test_no_request_fails_across_a_switch_and_a_rollback(request, servers, at_once, pause):
    served: Served = request.getfixturevalue(servers)
    answers = {"a": served.until_it_answers()}
    versions = {"a": "1", "b": "2"}
    for old, new in (("a", "b"), ("b", "a")):
        process = served.start("switch", model=served.models[new], version=int(versions[new]))
        replies, switched = asyncio.run(_under_load(served, process, at_once, pause))
        out, err = process.communicate()
        assert process.returncode == 0, out + err
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
        assert {r.text for r in replies if r.received < replies[0].sent + 1} <= {answers[old]}
        last_of_old = max(r.sent for r in replies if r.text == answers[old])
        moved = last_of_old - min(r.sent for r in replies if r.text == answers[new])
        print(f"{served.settings.engine}, {at_once} at once: {len(replies)} answers, moved in {moved:.2f} s")


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
