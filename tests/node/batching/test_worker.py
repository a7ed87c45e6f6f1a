"""The workers of both engines as processes, with a small random model: what FastChat's API asks of them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import NODE_PYTHON, ROOT, free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
PROMPT = "Write one SQL query that answers the question.\nage"
BODY = {"model": "small", "prompt": PROMPT, "temperature": 0, "echo": False, "max_new_tokens": 9}
COMMANDS = {
    "fastchat": ["-m", "fastchat.serve.model_worker", "--no-register"],
    "batched": [str(ROOT / "include/node/batched_worker.py")],
}


@dataclass(frozen=True)
class Running:
    """A worker that listens."""

    url: str
    process: subprocess.Popen[bytes]

    def post(self, path: str, **body: Any) -> Any:
        answer = httpx.post(f"{self.url}/{path}", json=body, timeout=60, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def stream(self, **body: Any) -> list[dict[str, Any]]:
        answer = httpx.post(f"{self.url}/worker_generate_stream", json=body, timeout=60, trust_env=False)
        *chunks, rest = answer.content.split(b"\0")
        assert rest == b""
        return [json.loads(chunk) for chunk in chunks]

    def queue_length(self) -> int:
        return self.post("worker_get_status")["queue_length"]


def run(command: list[str], model: Path, log: Path) -> Running:
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(str(NODE_PYTHON), *command),
                *("--model-path", str(model), "--model-names", "small", "--port", str(port)),
                *("--host", "127.0.0.1", "--device", "cpu", "--dtype", "float32"),
            ],
            env=os.environ | {"LOGDIR": "", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            cwd=log.parent,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return Running(f"http://127.0.0.1:{port}", process)


def listening(worker: Running, log: Path) -> bool:
    assert worker.process.poll() is None, log.read_text()[-2000:]
    return worker.queue_length() == 0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    script = Path(__file__).with_name("small_model.py")
    subprocess.run([NODE_PYTHON, script, folder], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def workers(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    """Both engines' workers, started side by side."""
    folder = tmp_path_factory.mktemp("workers")
    started = {name: run(command, model, folder / name) for name, command in COMMANDS.items()}
    try:
        for name, worker in started.items():
            wait_until(lambda w=worker, n=name: listening(w, folder / n), 60, not_yet=httpx.TransportError)
        yield started
    finally:
        for worker in started.values():
            worker.process.terminate()
            worker.process.wait(30)


@pytest.fixture(params=list(COMMANDS))
def worker(workers: dict[str, Running], request: pytest.FixtureRequest) -> Running:
    return workers[request.param]


@pytest.fixture
def batched(workers: dict[str, Running]) -> Running:
    return workers["batched"]


def test_a_worker_says_what_it_serves(worker):
    assert worker.post("worker_get_status")["model_names"] == ["small"]
    assert worker.post("model_details") == {"context_length": 512}
    assert worker.post("count_token", prompt=PROMPT) == {"count": 22, "error_code": 0}


def test_a_worker_has_a_template_for_conversations(worker):
    conversation = worker.post("worker_get_conv_template")["conv"]
    assert conversation["name"] == "one_shot"
    assert isinstance(conversation["sep_style"], int)


def test_an_answer_has_usage_and_a_reason_for_its_end(worker):
    answer = worker.post("worker_generate", **BODY)
    assert answer["error_code"] == 0
    assert answer["finish_reason"] == "length"
    assert answer["usage"] == {"prompt_tokens": 22, "completion_tokens": 8, "total_tokens": 30}


def test_a_stream_grows_to_the_answer(worker):
    chunks = worker.stream(**BODY)
    assert len(chunks) > 2
    assert chunks[-1] == worker.post("worker_generate", **BODY)
    lengths = [len(chunk["text"]) for chunk in chunks]
    assert lengths == sorted(lengths)
    assert {chunk["finish_reason"] for chunk in chunks[:-1]} == {None}


@pytest.mark.parametrize(
    "changes",
    [{}, {"echo": True}, {"max_new_tokens": 60}, {"repetition_penalty": 1.5}, {"logprobs": 1}, {"top_p": 0}],
)
def test_both_engines_answer_alike(workers, changes):
    answers = [worker.post("worker_generate", **BODY | changes) for worker in workers.values()]
    for answer in answers:
        scores = (answer.get("logprobs") or {}).get("token_logprobs", [])
        scores[:] = [score and round(score, 3) for score in scores]
    assert answers[0] == answers[1]


def test_a_request_that_cannot_be_answered_has_a_code(batched):
    assert batched.post("worker_generate", **BODY | {"prompt": "age " * 600})["error_code"] == 40303
    (chunk,) = batched.stream(**BODY | {"prompt": ""})
    assert chunk["error_code"] == 40001


@pytest.mark.parametrize("route", ["worker_generate", "worker_generate_stream"])
def test_a_client_that_vanishes_leaves_no_row(batched, route):
    """More clients than rows, each of which would take a while; all of them close their connection."""

    async def vanish() -> int:
        body = BODY | {"temperature": 1.5, "max_new_tokens": 400, "stop_token_ids": []}
        async with httpx.AsyncClient(timeout=60, trust_env=False, limits=httpx.Limits()) as client:
            requests = [
                asyncio.create_task(client.post(f"{batched.url}/{route}", json=body)) for _ in range(100)
            ]
            while (most := await asyncio.to_thread(batched.queue_length)) < 30:
                assert not all(request.done() for request in requests)
            for request in requests:
                request.cancel()
        return most

    asyncio.run(vanish())
    wait_until(lambda: batched.queue_length() == 0, 20)


def test_a_thousand_requests_at_once_have_each_their_answer(batched):
    """Streaming or not, with different prompts and lengths: each has the answer that it gets alone."""
    bodies = [
        BODY | {"prompt": f"{PROMPT} {'name ' * (i % 7)}{i % 25}", "max_new_tokens": 1 + i % 11}
        for i in range(25 * 7 * 11)
    ][:1000]

    async def send(client: httpx.AsyncClient, number: int) -> str:
        route = "worker_generate_stream" if number % 2 else "worker_generate"
        answer = await client.post(f"{batched.url}/{route}", json=bodies[number])
        return json.loads(answer.content.split(b"\0")[-2 if number % 2 else 0])["text"]

    async def send_all(numbers: range, at_once: int) -> list[str]:
        # FastChat's API opens a connection for each request, too.
        limits = httpx.Limits(max_keepalive_connections=0)
        slots = asyncio.Semaphore(at_once)
        async with httpx.AsyncClient(timeout=120, trust_env=False, limits=limits) as client:

            async def send_in_turn(number: int) -> str:
                async with slots:
                    return await send(client, number)

            return await asyncio.gather(*map(send_in_turn, numbers))

    together = asyncio.run(send_all(range(1000), 200))
    single = asyncio.run(send_all(range(0, 1000, 10), 1))
    assert together[::10] == single
    assert len(set(together)) > 100


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "gpt2"},
        {"model_type": "internlm2", "auto_map": {"AutoConfig": "configuration_internlm2.InternLM2Config"}},
    ],
    ids=["another family", "code of its own"],
)
def test_a_model_that_cannot_be_served_is_refused_at_start(model, tmp_path, changes):
    content = json.loads((model / "config.json").read_text()) | changes
    (tmp_path / "config.json").write_text(json.dumps(content))
    log = tmp_path / "log"
    worker = run(COMMANDS["batched"], tmp_path, log)
    assert worker.process.wait(60) == 1
    assert f"cannot serve model_type {changes['model_type']}" in log.read_text()
    assert "set serving.engine to fastchat" in log.read_text()
