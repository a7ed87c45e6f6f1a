"""The model servers' real processes: a switch and a rollback under load, killed processes, the API key."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from sqltune.node_contracts.serving import SERVING, Engine, ServingRequest, ServingResponse, ServingSettings
from tests.conftest import BASE, NODE_PYTHON, ROOT, free_port

KEY = "secret-of-the-tests"
NAME = "text2sql"
BODY = {"model": NAME, "prompt": "SELECT name FROM", "max_tokens": 4, "temperature": 0}
_OTHER = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
source, target = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(source)
torch.manual_seed(1)
for p in model.parameters():
    p.data += 0.05 * torch.randn_like(p)
model.save_pretrained(target); AutoTokenizer.from_pretrained(source).save_pretrained(target)
"""


class Served:
    """One host's model servers, by the script that Airflow runs there."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder = folder
        first = free_port()
        self.settings = ServingSettings(
            folder=str(folder / "serving"),
            bind="127.0.0.1",
            controller_port=free_port(),
            api_port=free_port(),
            worker_ports=(first, first + 40),
            ready_timeout=120,
            drain_timeout=60,
            dtype="bfloat16",
            device="cpu",
            threads=1,
            engine=engine,
        )
        self.url = f"http://127.0.0.1:{self.settings.api_port}/v1"
        self.models = {"a": str(BASE / "models" / "tiny"), "b": str(folder / "other")}

    def start(
        self,
        action: str,
        script: Sequence[str] = (str(ROOT / "include/node/serving.py"),),
        model: str = "",
        **settings: Any,
    ) -> subprocess.Popen[str]:
        request = ServingRequest(
            action=action,  # type: ignore[arg-type]  # validated by the model
            settings=self.settings.model_copy(update=settings),
            name=NAME,
            model=model,
        )
        env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")} | {
            "SQLTUNE_API_KEY": KEY,
            "PYTHONPATH": f"{ROOT}/include/node:{ROOT}/plugins",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.Popen(
            [NODE_PYTHON, *script, request.model_dump_json()],
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, action: str, model: str = "") -> ServingResponse:
        process = self.start(action, model=model)
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, out + err
        return SERVING.read(out)

    def answer(self, key: str = KEY, name: str = NAME) -> httpx.Response:
        return httpx.post(
            f"{self.url}/completions",
            json=BODY | {"model": name},
            headers={"Authorization": f"Bearer {key}"},
            timeout=60,
            trust_env=False,
        )

    def until_it_answers(self, seconds: float = 60) -> str:
        deadline = time.monotonic() + seconds
        while True:
            try:
                answer = self.answer()
                if answer.status_code == 200 and "choices" in answer.json():
                    return answer.json()["choices"][0]["text"]
                problem = answer.text
            except httpx.TransportError as e:
                problem = repr(e)
            assert time.monotonic() < deadline, problem
            time.sleep(0.2)

    def pid(self, program: str) -> int:
        """A program's process, by its command line in this folder's supervisor."""
        conf = str(self.folder / "serving/supervisord.conf")
        output = subprocess.run(
            [NODE_PYTHON, "-m", "supervisor.supervisorctl", "-c", conf, "pid", program],
            capture_output=True,
            text=True,
        ).stdout
        return int(output.strip())

    def names(self) -> list[tuple[str, ...]]:
        """The names of each worker."""
        return [tuple(json.loads(p.read_text())["names"]) for p in self._worker_files()]

    @property
    def worker(self) -> str:
        """Program of a worker."""
        return self._worker_files()[0].stem

    def _worker_files(self) -> list[Path]:
        return list((self.folder / "serving/workers").glob("*.json"))


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


@contextmanager
def model_servers(folder: Path, engine: Engine) -> Iterator[Served]:
    """Model servers with model a; afterwards no process and no stray log of theirs is left."""
    servers = Served(folder, engine)
    subprocess.run(
        [NODE_PYTHON, "-c", _OTHER, servers.models["a"], servers.models["b"]], check=True, capture_output=True
    )
    servers.run("switch", model=servers.models["a"])
    yield servers
    servers.run("down")
    left = [p for p in Path("/proc").glob("[0-9]*") if str(folder).encode() in _command(p)]
    assert not left, [_command(p) for p in left]
    # FastChat would write logs to the working directory it is started from.
    assert not [
        *Path.cwd().glob("model_worker*.log"),
        *Path.cwd().glob("openai_api_server.log"),
        *Path.cwd().glob("controller.log"),
    ]


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


@dataclass(frozen=True)
class Reply:
    """One request under load: when it was sent and answered, and the text or the failure."""

    sent: float
    received: float
    text: str


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
            text = await _completion(client, served.url)
            replies.append(Reply(sent, time.monotonic(), text))
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


async def _completion(client: httpx.AsyncClient, url: str) -> str:
    try:
        answer = await client.post(f"{url}/completions", json=BODY)
    except httpx.HTTPError as e:
        return f"failed: {e!r}"
    if answer.status_code == 200 and "choices" in answer.json():
        return str(answer.json()["choices"][0]["text"])
    return f"failed: {answer.status_code} {answer.text[:200]}"


# Two hundred requests without a pause leave the new model little of two cores to load with: three minutes.
@pytest.mark.parametrize(
    ("servers", "at_once", "pause"),
    [
        ("served", 20, 0.5),
        pytest.param("served", 200, 0, marks=pytest.mark.chaos),
        pytest.param("served_by_fastchat", 20, 0.5, marks=pytest.mark.chaos),
        pytest.param("served_by_fastchat", 200, 0, marks=pytest.mark.chaos),
    ],
)
def test_no_request_fails_across_a_switch_and_a_rollback(request, servers, at_once, pause):
    served: Served = request.getfixturevalue(servers)
    answers = {"a": served.until_it_answers()}
    for old, new in (("a", "b"), ("b", "a")):
        process = served.start("switch", model=served.models[new])
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
        assert {r.text for r in replies if r.received < replies[0].sent + 1} <= {answers[old]}


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


@pytest.mark.parametrize("program", ["controller", "api", "registrar", "worker"])
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
    before, programs = served.until_it_answers(), ("controller", "api", "registrar", served.worker)
    orphans = [served.pid(program) for program in programs]
    os.kill(int((served.folder / "serving/supervisord.pid").read_text()), signal.SIGKILL)
    assert served.run("up", model=served.models["a"]).serving == {NAME: served.models["a"]}
    assert served.until_it_answers() == before
    assert not [pid for pid in orphans if b"fastchat" in _command(Path(f"/proc/{pid}"))]
    assert not {served.pid(program) for program in programs} & {0, *orphans}


def test_a_request_with_another_key_is_refused(served):
    assert served.answer(key="another").status_code == 401


def test_the_key_is_in_no_command_line(served):
    assert not [p for p in Path("/proc").glob("[0-9]*") if KEY.encode() in _command(p)]


def test_the_key_file_is_private(served):
    assert (served.folder / "serving/api_key").stat().st_mode & 0o077 == 0
