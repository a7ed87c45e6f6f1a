"""The worker in front of vLLM as a process, with a stand-in for vLLM: what FastChat's API asks of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from door.errors import NO_WORKER
from tests.node.served import make_adapter
from tests.node.vllm_bridge.bridge import BODY, Bridge, make_model
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
ANSWER = {
    "text": " a0 a1 a2 a3",
    "error_code": 0,
    "usage": {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6},
    "finish_reason": "length",
    "logprobs": None,
}


def runs(pid: int) -> bool:
    """Whether a process runs; a zombie has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    make_model(folder, hidden_size=256)
    return folder


@pytest.fixture(scope="module")
def bridge(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    bridge = Bridge(tmp_path_factory.mktemp("bridge"), model)
    bridge.until_ready()
    yield bridge
    bridge.process.terminate()
    bridge.process.wait(30)


@pytest.fixture
def own_bridge(model: Path, tmp_path: Path) -> Iterator[Bridge]:
    """A worker of the test's own, whose vLLM does not answer yet."""
    bridge = Bridge(tmp_path, model)
    yield bridge
    bridge.process.kill()
    bridge.process.wait(30)


def test_it_says_what_it_serves(bridge):
    assert bridge.status() == {"model_names": ["small"], "speed": 1, "queue_length": 0, "idle": {}}
    assert bridge.post("model_details") == {"context_length": 50}
    assert bridge.post("count_token", prompt="one two") == {"count": 2, "error_code": 0}
    assert bridge.post("worker_get_conv_template")["conv"]["name"] == "one_shot"


def test_an_answer_has_usage_and_a_reason_for_its_end(bridge):
    assert bridge.post("worker_generate", **BODY) == ANSWER


def test_a_stream_grows_to_the_answer(bridge):
    chunks = bridge.stream(**BODY)
    assert [chunk["text"] for chunk in chunks] == [" a0", " a0 a1", " a0 a1 a2", " a0 a1 a2 a3"]
    assert [chunk["finish_reason"] for chunk in chunks] == [None, None, None, "length"]
    assert chunks[-1] == ANSWER


def test_an_answer_is_as_long_as_the_context_lets_it(bridge):
    answer = bridge.post("worker_generate", **BODY | {"max_new_tokens": 1000})
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 46, "total_tokens": 49}


def test_a_stop_text_ends_an_answer(bridge):
    answer = bridge.post("worker_generate", **BODY | {"stop": ["a2", ""]})
    assert (answer["text"], answer["finish_reason"]) == (" a0 a1", "stop")
    assert bridge.requests()[-1]["stop"] == ["a2"]


def test_an_answer_may_begin_with_the_prompt(bridge):
    assert bridge.post("worker_generate", **BODY | {"echo": True})["text"] == "one two three a0 a1 a2 a3"
    assert bridge.stream(**BODY | {"echo": True})[-1]["text"] == "one two three a0 a1 a2 a3"


def test_logprobs_are_collected(bridge):
    whole = bridge.post("worker_generate", **BODY | {"logprobs": 1})["logprobs"]
    assert whole["tokens"] == [" a0", " a1", " a2", " a3"]
    assert whole["text_offset"] == [0, 3, 6, 9]
    assert bridge.stream(**BODY | {"logprobs": 1})[-1]["logprobs"] == whole


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"temperature": 0.7, "top_p": 0.9}, {"temperature": 0.7, "top_p": 0.9}),
        ({"temperature": 1e-6, "top_p": 0.9}, {"temperature": 0, "top_p": 1}),
        ({"temperature": 0.7, "top_p": 0}, {"temperature": 0, "top_p": 1}),
        ({"temperature": None}, {"temperature": 1}),
        ({"top_k": -1}, {"top_k": 0}),
        ({"repetition_penalty": 0.5}, {"repetition_penalty": 1}),
        ({"stop": "###"}, {"stop": ["###"]}),
        ({"stop": None, "stop_token_ids": [2]}, {"stop": [], "stop_token_ids": [2]}),
        ({"seed": 7, "presence_penalty": 0.5}, {"seed": 7, "presence_penalty": 0.5}),
    ],
)
def test_parameters_have_fastchats_meaning(bridge, given, sent):
    bridge.post("worker_generate", **BODY | given)
    asked = bridge.requests()[-1]
    assert {name: asked[name] for name in sent} == sent


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"prompt": "age " * 51}, 40303, "51 tokens, and the model's context is 50"),
        ({"prompt": ""}, 40001, "cannot answer 0 tokens"),
        ({"prompt": ["one", "two"]}, 40001, "prompt is list: a text is expected"),
        ({"max_new_tokens": 0}, 40302, "max_new_tokens is 0: 1 or more is expected"),
        ({"temperature": "hot"}, 40001, "the request cannot be read"),
        ({"prompt": "fail"}, 50001, "the engine is dead"),
    ],
)
def test_a_request_that_cannot_be_answered_has_a_code(bridge, changes, code, message):
    (chunk,) = bridge.stream(**BODY | changes)
    assert chunk["error_code"] == code
    assert message in chunk["text"]
    assert bridge.post("worker_generate", **BODY | changes) == chunk


@pytest.mark.parametrize("route", ["worker_generate", "worker_generate_stream"])
def test_a_client_that_vanishes_leaves_vllm_too(bridge, route):
    def left() -> int:
        return sum("left" in request for request in bridge.requests())

    async def vanish() -> None:
        async with httpx.AsyncClient(timeout=60, trust_env=False, limits=httpx.Limits()) as client:
            body = BODY | {"prompt": "wait"}
            requests = [
                asyncio.create_task(client.post(f"{bridge.url}/{route}", json=body)) for _ in range(9)
            ]
            await asyncio.to_thread(wait_until, lambda: bridge.status()["queue_length"] == 9)
            for request in requests:
                request.cancel()

    bridge.post("worker_generate", **BODY)
    before = left()
    asyncio.run(vanish())
    wait_until(lambda: bridge.status()["queue_length"] == 0)
    wait_until(lambda: left() == before + 9)


def test_it_listens_once_vllm_answers(own_bridge):
    own_bridge.vllm()
    with pytest.raises(httpx.ConnectError):
        own_bridge.status()
    own_bridge.until_ready()
    assert own_bridge.post("worker_generate", **BODY) == ANSWER


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("is_ready", [False, True])
def test_vllm_ends_with_it(own_bridge, number, is_ready):
    pids = own_bridge.vllm()
    if is_ready:
        own_bridge.until_ready()
    own_bridge.process.send_signal(number)
    own_bridge.process.wait(30)
    wait_until(lambda: not any(map(runs, pids)), 20)


@pytest.mark.parametrize("is_ready", [False, True])
def test_it_ends_with_vllm(own_bridge, is_ready):
    server, engine = own_bridge.vllm()
    if is_ready:
        own_bridge.until_ready()
    os.kill(server, signal.SIGKILL)
    assert own_bridge.process.wait(30) != 0
    assert "ended with exit status -9" in own_bridge.log.read_text()
    assert not runs(engine)


def test_it_ends_with_the_guard_and_vllm_too(own_bridge):
    own_bridge.until_ready()
    pids = own_bridge.vllm()
    os.kill(os.getpgid(pids[0]), signal.SIGKILL)
    own_bridge.process.wait(30)
    wait_until(lambda: not any(map(runs, pids)), 20)


def test_a_request_is_told_when_vllm_dies(own_bridge):
    own_bridge.until_ready()
    (chunk,) = own_bridge.stream(**BODY | {"prompt": "die"})
    assert chunk["error_code"] == 50001
    assert "vLLM does not answer" in chunk["text"]


def test_its_folder_in_tmp_is_removed(own_bridge):
    own_bridge.until_ready()
    command = Path(f"/proc/{own_bridge.vllm()[0]}/cmdline").read_text().split("\0")
    folder = Path(command[command.index("--uds") + 1]).parent
    assert folder.stat().st_mode & 0o077 == 0
    own_bridge.process.kill()
    wait_until(lambda: not folder.exists(), 20)


def refused(folder: Path, model: Path, *options: str) -> str:
    """The log of a worker that ends before it has started vLLM."""
    bridge = Bridge(folder, model, *options)
    assert bridge.process.wait(60) == 1
    assert not (folder / "pids").exists()
    return bridge.log.read_text()


def test_weights_of_other_shapes_are_refused_before_vllm_is_started(model, tmp_path):
    changed = tmp_path / "model"
    changed.mkdir()
    content = json.loads((model / "config.json").read_text())
    (changed / "config.json").write_text(json.dumps(content | {"vocab_size": content["vocab_size"] + 1}))
    (changed / "model.safetensors").symlink_to(model / "model.safetensors")
    assert "are not those that its config.json describes (model.embed_tokens.weight is [" in refused(
        tmp_path, changed
    )


def test_missing_weights_are_refused(model, tmp_path):
    changed = tmp_path / "model"
    changed.mkdir()
    (changed / "config.json").write_bytes((model / "config.json").read_bytes())
    assert "model.embed_tokens.weight is missing" in refused(tmp_path, changed)


def test_heads_of_a_size_that_vllm_has_not_on_a_cpu_are_refused(tmp_path):
    make_model(tmp_path / "model", hidden_size=64)
    assert "has attention heads of size 8, and vLLM on a CPU takes 32, 64" in refused(
        tmp_path, tmp_path / "model"
    )


def test_heads_that_the_gpus_cannot_share_are_refused(model, tmp_path):
    assert "set serving.num_gpus to a divisor" in refused(tmp_path, model, "--num-gpus", "3")


def test_without_vllm_it_says_what_to_run(model, tmp_path):
    log = refused(tmp_path, model, "--vllm-python", str(tmp_path / "nowhere"))
    assert "run `bash include/node/bootstrap.sh --vllm" in log


@pytest.fixture
def put(tmp_path: Path, model: Path) -> Callable[[str, Path], None]:
    """Writes the file of a worker of the process that the bridge is."""
    folder = tmp_path / "workers"
    folder.mkdir()

    def write(program: str, adapter: Path) -> None:
        worker = {"names": [program], "model": str(adapter), "base": str(model), "process": "small"}
        (folder / f"{program}.json").write_text(json.dumps(worker))

    return write


@pytest.fixture
def base_bridge(model: Path, tmp_path: Path, put: Callable[[str, Path], None]) -> Iterator[Bridge]:
    """A worker of a base model and its adapters."""
    bridge = Bridge(tmp_path, model, "--adapters", str(tmp_path / "workers"), "--max-lora-rank", "8")
    bridge.until_ready()
    yield bridge
    bridge.process.terminate()
    bridge.process.wait(30)


def asked(bridge: Bridge, key: str) -> list[dict[str, str]]:
    return [request[key] for request in bridge.requests() if key in request]


def test_an_adapter_is_loaded_once_for_its_requests_and_unloaded_with_its_file(
    base_bridge, put, model, tmp_path
):
    adapter = tmp_path / "adapter"
    make_adapter(str(model), str(adapter), 1)
    put("worker-a", adapter)
    put("worker-base", model)
    assert base_bridge.status()["model_names"] == ["worker-a", "worker-base"]
    for name in ("worker-a", "worker-a", "worker-base"):
        assert base_bridge.post("worker_generate", **BODY | {"model": name})["error_code"] == 0
    models = [request["model"] for request in base_bridge.requests() if "model" in request]
    assert models == ["worker-a", "worker-a", "model"]
    assert asked(base_bridge, "load") == [{"lora_name": "worker-a", "lora_path": str(adapter)}]
    (tmp_path / "workers/worker-a.json").unlink()
    assert base_bridge.status()["model_names"] == ["worker-base"]
    assert asked(base_bridge, "unload") == [{"lora_name": "worker-a"}]


def test_a_name_that_has_moved_is_looked_up_again_by_the_door(base_bridge):
    answer = base_bridge.post("worker_generate", **BODY | {"model": "worker-gone"})
    assert answer == {"text": "worker-gone is not served by small", "error_code": NO_WORKER}


def test_an_adapter_of_another_model_is_not_given_to_vllm(base_bridge, put, tmp_path):
    """It answers 200, and leaves out what does not fit."""
    other = tmp_path / "other"
    make_model(other, hidden_size=128)
    make_adapter(str(other), str(tmp_path / "adapter"), 1)
    put("worker-a", tmp_path / "adapter")
    answer = base_bridge.post("worker_generate", **BODY | {"model": "worker-a"})
    assert answer["error_code"] == 50001
    assert "in the base model, and the adapter's is [" in answer["text"]
    assert asked_nothing(base_bridge)


def asked_nothing(bridge: Bridge) -> bool:
    return not (bridge.folder / "requests.jsonl").exists()


def test_an_adapter_that_could_not_be_loaded_is_tried_again(base_bridge, put, model, tmp_path):
    make_adapter(str(model), str(tmp_path / "adapter"), 1)
    put("worker-broken", tmp_path / "adapter")
    for _ in range(2):
        answer = base_bridge.post("worker_generate", **BODY | {"model": "worker-broken"})
        # Not the client's fault, as vLLM's 400 says.
        assert answer["error_code"] == 50001
        assert "no room for the adapter" in answer["text"]
    assert len(asked(base_bridge, "load")) == 2


def test_it_says_how_long_each_of_its_models_is_idle(base_bridge, put, model):
    put("worker-base", model)
    assert base_bridge.status()["idle"] == {}
    base_bridge.post("worker_generate", **BODY | {"model": "worker-base"})
    assert 0 < base_bridge.status()["idle"]["worker-base"] < 60
