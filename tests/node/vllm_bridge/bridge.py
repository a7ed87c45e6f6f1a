"""The worker in front of vLLM as a process, for tests."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx

from tests.conftest import NODE_PYTHON, ROOT, free_port
from tests.waiting import wait_until

BODY = {"model": "small", "prompt": "one two three", "temperature": 0, "echo": False, "max_new_tokens": 4}


class Bridge:
    """A worker in a folder of its own.

    Args:
        folder: Its working directory.
        model: Folder of the model.
        options: Further options.
        vllm: Interpreter of vLLM's environment; a stand-in by default.
        environment: Further environment variables.
    """

    def __init__(
        self,
        folder: Path,
        model: Path,
        *options: str,
        vllm: Path | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.folder = folder
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    *(NODE_PYTHON, ROOT / "include/node/vllm_worker.py", "--model-path", model),
                    *("--model-names", "small", "--port", str(port), "--device", "cpu"),
                    *("--vllm-python", vllm or stand_in(folder)),
                    *options,
                ],
                env=os.environ | {"LOGDIR": "", "OMP_NUM_THREADS": "1"} | environment,
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def let_vllm_answer(self) -> None:
        (self.folder / "open").touch()

    def until_ready(self) -> None:
        self.let_vllm_answer()
        wait_until(self.listens, 60, self.log.read_text, httpx.TransportError)

    def listens(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        return self.status() is not None

    def post(self, path: str, **body: Any) -> Any:
        answer = httpx.post(f"{self.url}/{path}", json=body, timeout=60, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def stream(self, **body: Any) -> list[dict[str, Any]]:
        answer = httpx.post(f"{self.url}/worker_generate_stream", json=body, timeout=60, trust_env=False)
        *chunks, rest = answer.content.split(b"\0")
        assert rest == b""
        return [json.loads(chunk) for chunk in chunks]

    def status(self) -> dict[str, Any]:
        return dict(self.post("worker_get_status"))

    def requests(self) -> list[dict[str, Any]]:
        """What vLLM was asked."""
        return [json.loads(line) for line in (self.folder / "requests.jsonl").read_text().splitlines()]

    def vllm(self) -> list[int]:
        """vLLM's processes, once they run."""
        return list(
            wait_until(lambda: json.loads((self.folder / "pids").read_text()), 60, self.log.read_text)
        )

    def group(self) -> list[Path]:
        """The guard, vLLM and all of its processes, as folders in /proc."""
        (guard,) = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [p for p in Path("/proc").glob("[0-9]*") if _group_of(p) == int(guard)]


def stand_in(folder: Path) -> Path:
    """A program that takes the place of vLLM's interpreter."""
    program = folder / "vllm"
    program.write_text(f"#!{NODE_PYTHON}\n{Path(__file__).with_name('fake_vllm.py').read_text()}")
    program.chmod(0o755)
    return program


def _group_of(process: Path) -> int | None:
    try:
        return os.getpgid(int(process.name))
    except ProcessLookupError:
        return None


def make_model(folder: Path, **sizes: int) -> None:
    script = ROOT / "tests/node/batching/small_model.py"
    subprocess.run([NODE_PYTHON, script, folder, json.dumps(sizes)], check=True, capture_output=True)
