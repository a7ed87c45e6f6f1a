"""The worker in front of vLLM itself: what the stand-in of the other tests claims is so.

Skipped where vLLM is not installed.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from door.errors import NO_WORKER
from marks import SERVING, has_mark
from tests.conftest import NODE_PYTHON
from tests.node.served import make_adapter
from tests.node.vllm_bridge.bridge import BODY, Bridge, make_model
from tests.waiting import wait_until

START = 240
PROMPT = "SELECT name FROM head"
_MERGED = """
import json, sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
base, adapter, prompt = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base, torch_dtype=torch.float32)
model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
tokenizer = AutoTokenizer.from_pretrained(base)
ids = tokenizer(prompt, return_tensors="pt").input_ids
answer = model.generate(ids, max_new_tokens=12, do_sample=False, pad_token_id=0)[0, ids.shape[1]:]
print(json.dumps(tokenizer.decode(answer, skip_special_tokens=True)))
"""


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory, vllm_python: Path) -> Iterator[Bridge]:
    folder = tmp_path_factory.mktemp("vllm")
    make_model(folder / "model", hidden_size=256)
    bridge = Bridge(
        folder, folder / "model", "--dtype", "float32", vllm=vllm_python, environment={SERVING: "1"}
    )
    try:
        wait_until(bridge.listens, START, bridge.log.read_text, httpx.TransportError)
        yield bridge
    finally:
        bridge.process.terminate()
        bridge.process.wait(30)


def test_it_says_what_it_serves(bridge):
    assert bridge.post("model_details") == {"context_length": 512}
    assert bridge.post("count_token", prompt=PROMPT)["count"] > 3


def test_a_stream_grows_to_the_answer(bridge):
    body = BODY | {"prompt": PROMPT, "logprobs": 1, "echo": True}
    chunks = bridge.stream(**body)
    assert len(chunks) > 1
    assert chunks[-1] == bridge.post("worker_generate", **body)
    assert chunks[-1]["text"].startswith(PROMPT)


def test_a_stop_text_is_not_part_of_the_answer(bridge):
    whole = bridge.post("worker_generate", **BODY | {"prompt": PROMPT, "max_new_tokens": 20})["text"]
    answer = bridge.post(
        "worker_generate", **BODY | {"prompt": PROMPT, "stop": [whole[5:7]], "max_new_tokens": 20}
    )
    assert answer["text"] == whole[: whole.index(whole[5:7])]
    assert answer["finish_reason"] == "stop"


def test_an_answer_is_as_long_as_the_context_lets_it(bridge):
    answer = bridge.post("worker_generate", **BODY | {"prompt": PROMPT, "max_new_tokens": 10_000})
    assert answer["usage"]["total_tokens"] <= 511
    assert answer["finish_reason"] in ("length", "stop")


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"prompt": "age " * 600}, 40303), ({"prompt": ""}, 40001), ({"temperature": 1, "top_p": 7}, 40001)],
)
def test_a_request_that_cannot_be_answered_has_a_code(bridge, changes, code):
    (chunk,) = bridge.stream(**BODY | changes)
    assert chunk["error_code"] == code, chunk
    assert bridge.post("worker_generate", **BODY | changes) == chunk


def test_its_processes_are_recognised_as_a_served_model(bridge):
    processes = bridge.group()
    assert len(processes) >= 3
    assert [process for process in processes if not has_mark(process, SERVING)] == []


def test_many_are_answered_at_once_each_with_its_answer(bridge):
    async def answers(at_once: int) -> list[str]:
        async with httpx.AsyncClient(timeout=120, trust_env=False, limits=httpx.Limits()) as client:
            slots = asyncio.Semaphore(at_once)

            async def answer(number: int) -> str:
                async with slots:
                    body = BODY | {"prompt": f"{PROMPT} {number}", "max_new_tokens": 2 + number % 7}
                    return (await client.post(f"{bridge.url}/worker_generate", json=body)).json()["text"]

            return await asyncio.gather(*map(answer, range(60)))

    assert asyncio.run(answers(60)) == asyncio.run(answers(1))


def test_nothing_is_left_of_a_killed_worker(bridge):
    """The last test: it ends the worker of the others."""
    processes = bridge.group()
    bridge.process.kill()
    bridge.process.wait()
    wait_until(lambda: not any(process.exists() for process in processes), 30)


@pytest.fixture(scope="module")
def base_bridge(tmp_path_factory: pytest.TempPathFactory, vllm_python: Path) -> Iterator[Bridge]:
    """A worker of a base model and of adapters that the tests put beside it."""
    folder = tmp_path_factory.mktemp("vllm-base")
    make_model(folder / "model", hidden_size=256)
    (folder / "workers").mkdir()
    options = ["--dtype", "float32", "--adapters", str(folder / "workers"), "--max-lora-rank", "8"]
    bridge = Bridge(folder, folder / "model", *options, vllm=vllm_python)
    try:
        wait_until(bridge.listens, START, bridge.log.read_text, httpx.TransportError)
        yield bridge
    finally:
        bridge.process.terminate()
        bridge.process.wait(30)


def put(bridge: Bridge, program: str, adapter: str) -> None:
    worker = {"model": str(bridge.folder / adapter), "base": str(bridge.folder / "model"), "process": "small"}
    (bridge.folder / f"workers/{program}.json").write_text(json.dumps(worker))


def test_adapters_answer_beside_their_base_model_as_merged_ones_do(base_bridge):
    folder, texts = base_bridge.folder, {}
    for seed, name in enumerate(("a", "b")):
        make_adapter(str(folder / "model"), str(folder / name), seed)
        put(base_bridge, f"worker-{name}", name)
    put(base_bridge, "worker-base", "model")
    for name in ("worker-base", "worker-a", "worker-b"):
        body = BODY | {"prompt": PROMPT, "model": name, "max_new_tokens": 12}
        texts[name] = base_bridge.post("worker_generate", **body)["text"]
    assert len(set(texts.values())) == 3
    expected = {f"worker-{name}": merged_answer(folder / "model", folder / name) for name in ("a", "b")}
    assert {name: texts[name] for name in expected} == expected


def merged_answer(base: Path, adapter: Path) -> str:
    """The answer of the model that PEFT merges, from transformers."""
    answered = subprocess.run(
        [NODE_PYTHON, "-c", _MERGED, base, adapter, PROMPT], capture_output=True, text=True, check=True
    )
    return str(json.loads(answered.stdout.splitlines()[-1]))


def test_an_adapter_that_is_gone_answers_no_more(base_bridge):
    make_adapter(str(base_bridge.folder / "model"), str(base_bridge.folder / "c"), 3)
    put(base_bridge, "worker-c", "c")
    body = BODY | {"prompt": PROMPT, "model": "worker-c"}
    assert base_bridge.post("worker_generate", **body)["error_code"] == 0
    (base_bridge.folder / "workers/worker-c.json").unlink()
    base_bridge.status()
    assert base_bridge.post("worker_generate", **body)["error_code"] == NO_WORKER
