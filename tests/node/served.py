"""One host's model servers for tests: two small models, and the script that Airflow runs there."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from proc_net import LISTEN
from sqltune.node_contracts.serving import (
    SERVING,
    Adapters,
    Engine,
    ServingRequest,
    ServingResponse,
    ServingSettings,
)
from sqltune.node_contracts.trial import TrialTerms
from tests.conftest import BASE, NODE_PYTHON, ROOT, free_port

KEY = "secret-of-the-tests"
NAME = "text2sql"
BODY = {"model": NAME, "prompt": "SELECT name FROM", "max_tokens": 4, "temperature": 0}
_WIDE_HEADS = """
import sys, torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
source, target = sys.argv[1:]
torch.manual_seed(2)
config = AutoConfig.from_pretrained(source, head_dim=32)
AutoModelForCausalLM.from_config(config, torch_dtype=torch.bfloat16).save_pretrained(target)
AutoTokenizer.from_pretrained(source).save_pretrained(target)
"""
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

    def __init__(
        self,
        folder: Path,
        bind: str = "127.0.0.1",
        engine: Engine = "batched",
        adapters: Adapters = "merged",
    ) -> None:
        self.folder = folder
        first = free_port()
        self.settings = ServingSettings(
            folder=str(folder / "serving"),
            bind=bind,
            controller_port=free_port(),
            api_port=free_port(),
            worker_ports=(first, first + 40),
            # vLLM's process group loads for minutes while another one answers on the same two cores.
            ready_timeout=600 if engine == "vllm" else 120,
            drain_timeout=60,
            dtype="bfloat16",
            device="cpu",
            threads=1,
            engine=engine,
        )
        self.url = f"http://{bind}:{self.settings.api_port}/v1"
        self.adapters = adapters
        self.models = {"a": str(BASE / "models" / "tiny"), "b": str(folder / "other")}

    @property
    def environment(self) -> dict[str, str]:
        """Environment of the script and the servers."""
        return {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")} | {
            "SQLTUNE_API_KEY": KEY,
            "PYTHONPATH": f"{ROOT}/include/node:{ROOT}/plugins",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        }

    def public_ports(self) -> set[int]:
        """Those of the servers' TCP ports that are listened on at the public address."""
        workers = [json.loads(path.read_text())["port"] for path in self._worker_files()]
        own = {self.settings.controller_port, self.settings.api_port, *workers}
        address = socket.inet_aton(self.settings.bind)[::-1].hex().upper()
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        local = [row[1].split(":") for row in rows if row[3] == LISTEN]
        return own & {int(port, 16) for host, port in local if host in (address, "00000000")}

    def make_models(self) -> None:
        """Make model b of model a, or two adapters of it; they answer differently."""
        if self.settings.engine == "vllm":
            # It has no kernel for the small heads of the lab's model on a CPU.
            small, self.models["a"] = self.models["a"], str(self.folder / "wide")
            _make_model(_WIDE_HEADS, small, self.models["a"])
        if self.adapters == "merged":
            _make_model(_OTHER, self.models["a"], self.models["b"])
            return
        base = self.models["a"]
        self.settings = self.settings.model_copy(update={"base_model": base})
        self.models = {name: str(self.folder / f"adapter-{name}") for name in "ab"} | {"base": base}
        for seed, name in enumerate("ab"):
            make_adapter(base, self.models[name], seed)

    def start(
        self,
        action: str,
        script: Sequence[str] = (str(ROOT / "include/node/serving.py"),),
        model: str = "",
        version: int | None = None,
        trial: TrialTerms | None = None,
        name: str = NAME,
        **settings: Any,
    ) -> subprocess.Popen[str]:
        request = ServingRequest(
            action=action,  # type: ignore[arg-type]  # validated by the model
            settings=self.settings.model_copy(update=settings),
            name=name,
            model=model,
            version=version,
            trial=trial,
        )
        return subprocess.Popen(
            [NODE_PYTHON, *script, request.model_dump_json()],
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(
        self,
        action: str,
        model: str = "",
        version: int | None = None,
        trial: TrialTerms | None = None,
        name: str = NAME,
    ) -> ServingResponse:
        process = self.start(action, model=model, version=version, trial=trial, name=name)
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, out + err
        return SERVING.read(out)

    def answer(self, key: str = KEY, **fields: Any) -> httpx.Response:
        return httpx.post(
            f"{self.url}/completions",
            json=BODY | fields,
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
        """A program's or a worker's process, by its command line in this folder's supervisor."""
        file = self.folder / f"serving/workers/{program}.json"
        program = (json.loads(file.read_text()).get("process") if file.exists() else "") or program
        conf = str(self.folder / "serving/supervisord.conf")
        output = subprocess.run(
            [NODE_PYTHON, "-m", "supervisor.supervisorctl", "-c", conf, "pid", program],
            capture_output=True,
            text=True,
        ).stdout
        return int(output.strip())

    def processes(self) -> list[int]:
        """Processes that compute answers."""
        script = str(self.folder / "serving/bin").encode()
        workers = [
            p for p in Path("/proc").glob("[0-9]*") if script in command(p) and b"_worker.py" in command(p)
        ]
        return [int(process.name) for process in workers]

    def names(self) -> list[tuple[str, ...]]:
        """The names of each worker."""
        return [tuple(json.loads(p.read_text())["names"]) for p in self._worker_files()]

    @property
    def worker(self) -> str:
        """Program of a worker."""
        return self._worker_files()[0].stem

    def _worker_files(self) -> list[Path]:
        return list((self.folder / "serving/workers").glob("*.json"))


def _make_model(script: str, source: str, target: str) -> None:
    subprocess.run([NODE_PYTHON, "-c", script, source, target], check=True, capture_output=True)


def make_adapter(base: str, folder: str, seed: int, **options: Any) -> None:
    """A random adapter of a model, by the options of PEFT's LoraConfig."""
    script = str(ROOT / "tests/node/batching/small_adapter.py")
    subprocess.run(
        [NODE_PYTHON, script, base, folder, str(seed), json.dumps(options)], check=True, capture_output=True
    )


def command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""
