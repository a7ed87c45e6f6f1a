"""A change of supervisor's configuration while its programs serve."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from model_servers.supervisor import Supervisor
from tests.conftest import ROOT
from tests.waiting import wait_until

API = """
import signal, socket, sys, time
from pathlib import Path
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
signal.signal(signal.SIGTERM, lambda *_: listener.close())
connection, _ = listener.accept()
Path("accepted").touch()
while not Path("answer").exists():
    time.sleep(0.01)
connection.sendall(b"answered")
"""
"""An API that is asked once. On SIGTERM it stops to listen, and answers what it has begun."""
CONFIGURATION = """\
[supervisord]
pidfile={folder}/supervisord.pid
logfile={folder}/supervisord.log
[unix_http_server]
file={socket}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
PROGRAM = """\
[program:{name}]
command={command}
autostart={autostart}
startsecs=0
"""


@pytest.fixture
def supervisor(stack) -> Iterator[Supervisor]:
    yield stack.supervisor
    if stack.supervisor.running():
        stack.supervisor.shut_down()


def configure(layout, *programs: str) -> None:
    head = CONFIGURATION.format(folder=layout.folder, socket=layout.socket)
    layout.configuration_file.write_text(head + "".join(programs))


def test_the_door_takes_its_port_while_the_api_before_it_answers_what_it_has_begun(stack, supervisor):
    layout, port = stack.layout, stack.layout.api_port
    stack.write()
    script: Path = layout.folder / "api.py"
    script.write_text(API)
    command = f"{sys.executable} {script} {port}"
    door = f"{sys.executable} {ROOT}/include/node/front_door.py {layout.folder} /no-api 127.0.0.1 {port}"
    configure(layout, PROGRAM.format(name="api", command=command, autostart="false"))
    supervisor.launch()
    supervisor.start("api")
    with (
        ThreadPoolExecutor() as pool,
        wait_until(lambda: socket.create_connection(("127.0.0.1", port))) as asked,
    ):
        wait_until(lambda: (layout.folder / "accepted").exists())
        configure(
            layout,
            PROGRAM.format(name="api", command="sleep 60", autostart="false"),
            PROGRAM.format(name="door", command=door, autostart="true"),
        )
        reloaded = pool.submit(supervisor.reload)
        models = f"http://127.0.0.1:{port}/v1/models"
        wait_until(lambda: httpx.get(models, trust_env=False).is_success, not_yet=httpx.TransportError)
        assert not reloaded.done(), "the API has not answered yet"
        (layout.folder / "answer").touch()
        assert asked.recv(100) == b"answered"
        reloaded.result()
