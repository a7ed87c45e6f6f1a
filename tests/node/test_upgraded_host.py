"""A host on which the version before the front door serves a model: all its servers at the public address."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from model_servers.stack import Stack
from model_servers.worker import program_name
from supervisor_rpc import call, is_running
from tests.conftest import NODE_PYTHON
from tests.node.served import KEY, NAME, Served, command
from tests.waiting import wait_until

BEFORE = Path(__file__).parent / "before_the_door"


class Upgraded(Served):
    """Servers that the version before has started, as it started them."""

    def __init__(self, folder: Path, bind: str) -> None:
        super().__init__(folder, bind, engine="fastchat")
        self.stack = Stack(self.settings)
        self.program = program_name(NAME, self.models["a"], self.settings)
        self.port = self.settings.worker_ports[0]

    def start_version_before(self) -> None:
        """Write its files, and start supervisor and the programs; each is a real one."""
        layout = self.stack.layout
        (layout.folder / "workers").mkdir(parents=True)
        layout.scripts.mkdir()
        for script in ("fastchat_api_compat.py", "registrar.py"):
            (layout.scripts / script).write_bytes((BEFORE / script).read_bytes())
        (layout.folder / "api_key").write_text(KEY)
        worker = {"names": [NAME], "model": self.models["a"], "port": self.port, "dtype": "bfloat16"}
        (layout.folder / f"workers/{self.program}.json").write_text(
            json.dumps(worker | {"device": "cpu", "threads": 1})
        )
        text = (BEFORE / "supervisord.conf").read_text()
        layout.configuration_file.write_text(text.format(**self._values()))
        self._launch()

    def _values(self) -> dict[str, object]:
        return {
            "socket": self.stack.layout.socket,
            "folder": self.stack.layout.folder,
            "python": NODE_PYTHON,
            "bind": self.settings.bind,
            "controller_port": self.settings.controller_port,
            "api_port": self.settings.api_port,
            "model": self.models["a"],
            "worker_port": self.port,
            "program": self.program,
        }

    def _launch(self) -> None:
        layout = self.stack.layout
        subprocess.run(
            [NODE_PYTHON, "-m", "supervisor.supervisord", "-c", layout.configuration_file],
            check=True,
            env={**self.environment, "SQLTUNE_SERVING": "1", "LOGDIR": ""},
            cwd=layout.folder,
        )
        wait_until(lambda: is_running(layout.socket))
        controller = f"http://{self.settings.bind}:{self.settings.controller_port}"
        call(layout.socket, "startProcess", "controller", False)
        wait_until(
            lambda: httpx.post(f"{controller}/list_models", trust_env=False), not_yet=httpx.TransportError
        )
        for program in ("registrar", self.program, "api"):
            call(layout.socket, "startProcess", program, False)


@pytest.fixture
def upgraded(request, tmp_path, node_python) -> Iterator[Upgraded]:
    servers = Upgraded(tmp_path, getattr(request, "param", "127.0.0.2"))
    servers.start_version_before()
    servers.until_it_answers()
    yield servers
    servers.run("down")
    assert not [p for p in Path("/proc").glob("[0-9]*") if str(tmp_path).encode() in command(p)]


class Load:
    """One request after the other on a thread, each with a connection of its own."""

    def __init__(self, servers: Served) -> None:
        self._servers = servers
        self.answers: list[str] = []
        self.turned_away: list[str] = []
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(4)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                answer = self._servers.answer()
            except httpx.TransportError as e:
                self.turned_away.append(repr(e))
                continue
            if answer.status_code == 200 and "choices" in answer.json():
                self.answers.append(answer.json()["choices"][0]["text"])
            else:
                self.failures.append(answer.text)


@pytest.mark.parametrize(
    "upgraded", ["127.0.0.2", pytest.param("127.0.0.1", marks=pytest.mark.chaos)], indirect=True
)
def test_a_host_moves_behind_the_door_while_it_serves(upgraded):
    """A connection is turned away that the API has not begun to read as it stops; no answer is an error.

    That what it has begun is answered: `model_servers/test_supervisor.py`.
    """
    before, worker = upgraded.until_it_answers(), upgraded.pid(upgraded.program)
    with Load(upgraded) as load:
        wait_until(lambda: load.answers)
        upgraded.run("up", model=upgraded.models["a"])
        answered = len(load.answers)
        wait_until(lambda: len(load.answers) > answered + 10)
    assert load.failures == []
    assert set(load.answers) == {before}
    assert upgraded.pid(upgraded.program) == worker, "the model was loaded again"
    print(f"{len(load.answers)} answers, turned away: {load.turned_away}")
    assert not (upgraded.folder / "serving/api_key").exists(), (
        "the file of the version before holds a user's key"
    )


@pytest.mark.chaos
def test_a_switch_moves_a_host_behind_the_door(upgraded):
    upgraded.make_models()
    process = upgraded.start("switch", model=upgraded.models["b"], version=2)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, out + err
    answer = upgraded.answer()
    assert (answer.status_code, answer.headers["X-Model-Version"]) == (200, "2")
    assert upgraded.public_ports() == {upgraded.settings.api_port}
