"""FastChat's own processes, as they serve: a switch and a rollback under load, processes that are killed, a key."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from sqltune.node_contracts.serving import SERVING, ServingRequest, ServingResponse, ServingSettings
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

    def __init__(self, folder: Path) -> None:
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
                said = answer.text
            except httpx.TransportError as e:
                said = repr(e)
            assert time.monotonic() < deadline, said
            time.sleep(0.2)

    def pid(self, program: str) -> int:
        """A program's process, by its command line in this folder's supervisor."""
        conf = str(self.folder / "serving/supervisord.conf")
        words = subprocess.run(
            [NODE_PYTHON, "-m", "supervisor.supervisorctl", "-c", conf, "pid", program],
            capture_output=True,
            text=True,
        ).stdout
        return int(words.strip())


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    made = Served(folder)
    subprocess.run(
        [NODE_PYTHON, "-c", _OTHER, made.models["a"], made.models["b"]], check=True, capture_output=True
    )
    made.run("switch", model=made.models["a"])
    yield made
    made.run("down")
    left = [p for p in Path("/proc").glob("[0-9]*") if str(folder).encode() in _command(p)]
    assert not left, [_command(p) for p in left]
    # FastChat keeps logs of its own in whatever folder it is started from, unless it is told not to.
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


async def _under_load(
    served: Served, process: subprocess.Popen[str], at_once: int, pause: float
) -> list[tuple[float, float, str]]:
    """Ask again and again, so many at once, until some were answered that were asked after the process had ended: (asked, answered, text or trouble)."""
    told: list[tuple[float, float, str]] = []
    ended = asyncio.Event()

    async def one(client: httpx.AsyncClient) -> None:
        while not ended.is_set():
            asked = time.monotonic()
            try:
                answer = await client.post(f"{served.url}/completions", json=BODY)
                text = (
                    answer.json()["choices"][0]["text"]
                    if answer.status_code == 200 and "choices" in answer.json()
                    else f"failed: {answer.status_code} {answer.text[:200]}"
                )
            except httpx.HTTPError as e:
                text = f"failed: {e!r}"
            told.append((asked, time.monotonic(), text))
            await asyncio.sleep(pause)

    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    async with (
        httpx.AsyncClient(
            timeout=120, limits=limits, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False
        ) as client,
        asyncio.TaskGroup() as tasks,
    ):
        for _ in range(at_once):
            tasks.create_task(one(client))
        while process.poll() is None:
            await asyncio.sleep(0.1)
        switched = time.monotonic()
        told.append((switched, switched, "switched"))
        # Two hundred may wait for half a minute before one of them asks again.
        while sum(asked > switched for asked, _, _ in told) < 10:
            await asyncio.sleep(0.1)
        ended.set()
    return told


# Two hundred without a pause leave the new model little of two cores to load with: three minutes.
@pytest.mark.parametrize(("at_once", "pause"), [(20, 0.5), pytest.param(200, 0, marks=pytest.mark.chaos)])
def test_no_request_fails_across_a_switch_and_a_rollback(served, at_once, pause):
    a = served.until_it_answers()
    answers = {"a": a}
    for old, new in (("a", "b"), ("b", "a")):
        process = served.start("switch", model=served.models[new])
        told = asyncio.run(_under_load(served, process, at_once, pause))
        out, err = process.communicate()
        assert process.returncode == 0, out + err
        result = SERVING.read(out)
        assert result.serving == {NAME: served.models[new]}
        assert len(result.replaced) == 1
        answers.setdefault(new, served.until_it_answers())
        assert answers[old] != answers[new], "the two models can't be told apart"
        switched = next(t for t, _, text in told if text == "switched")
        asked = [t for t in told if t[2] != "switched"]
        wrong = [t for t in asked if t[2] not in answers.values()]
        assert len(asked) > at_once and not wrong, wrong[:3]
        assert {text for at, _, text in asked if at > switched} == {answers[new]}, "the old one answers still"
        assert {text for _, at, text in asked if at < asked[0][0] + 1} <= {answers[old]}


def test_a_model_that_does_not_answer_leaves_the_old_one_serving(served, tmp_path):
    before = served.until_it_answers()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text(
        json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]})
    )
    for model, words in ((broken, "did not answer within"), (tmp_path / "nothing", "holds no model")):
        process = served.start("switch", model=str(model), ready_timeout=15)
        _, err = process.communicate(timeout=120)
        assert (process.returncode and words in err) or "ends as soon as it is started" in err, err[-500:]
        assert served.until_it_answers() == before
        assert served.run("status").serving == {NAME: served.models["a"]}


def test_a_switch_that_is_cut_off_is_finished_by_the_next(served):
    """Killed while the old one drains, as when an Airflow worker dies: both are there, and the old one can be had back."""
    workers = served.folder / "serving/workers"
    process = served.start("switch", model=served.models["b"])
    deadline = time.monotonic() + 120
    while sorted(tuple(json.loads(p.read_text())["names"]) for p in workers.glob("*.json")) != [(), (NAME,)]:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert served.run("switch", model=served.models["a"]).serving == {NAME: served.models["a"]}
    assert len(list(workers.glob("*.json"))) == 1 and served.until_it_answers()


def test_a_model_that_answers_under_its_own_name_alone_gives_the_public_name_back(served):
    """The probe after the name has moved is made to fail: the old one has the name again, and nothing of the new one is left."""
    before = served.until_it_answers()
    patched = """
import serving
right = serving.Stack.answer_error
serving.Stack.answer_error = lambda self, name: "injected" if name == "text2sql" else right(self, name)
serving.SERVING.main(serving.handle)
"""
    process = served.start("switch", script=["-c", patched], model=served.models["b"])
    _, err = process.communicate(timeout=120)
    assert process.returncode and "not under this one (injected); the old model serves on" in err, err[-500:]
    assert served.until_it_answers() == before and served.run("status").serving == {NAME: served.models["a"]}
    assert len(list((served.folder / "serving/workers").glob("*.json"))) == 1


@pytest.mark.parametrize("program", ["controller", "api", "registrar", "worker"])
def test_what_is_killed_comes_back(served, program):
    before = served.until_it_answers()
    name = next((served.folder / "serving/workers").glob("*.json")).stem if program == "worker" else program
    pid = served.pid(name)
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while served.pid(name) in (0, pid):
        assert time.monotonic() < deadline, f"{name} does not come back"
        time.sleep(0.1)
    assert served.until_it_answers() == before


def test_a_killed_supervisor_is_followed_by_one_that_has_its_ports(served):
    """What it had started holds the ports, and answers no longer (nobody reads what it prints): the next one ends that and starts its own."""
    before, worker = served.until_it_answers(), next((served.folder / "serving/workers").glob("*.json")).stem
    left = [served.pid(program) for program in ("controller", "api", "registrar", worker)]
    os.kill(int((served.folder / "serving/supervisord.pid").read_text()), signal.SIGKILL)
    assert served.run("up", model=served.models["a"]).serving == {NAME: served.models["a"]}
    assert served.until_it_answers() == before and not [
        pid for pid in left if b"fastchat" in _command(Path(f"/proc/{pid}"))
    ]
    assert all(
        served.pid(program) not in (0, *left) for program in ("controller", "api", "registrar", worker)
    )


def test_nobody_without_the_key_and_nobody_sees_it(served):
    assert served.answer(key="another").status_code == 401
    assert not [p for p in Path("/proc").glob("[0-9]*") if KEY.encode() in _command(p)]
    assert (served.folder / "serving/api_key").stat().st_mode & 0o077 == 0
