"""A change of supervisor's configuration while its programs serve."""

from __future__ import annotations

import socket
import sys
import xmlrpc.client
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from supervisor.xmlrpc import Faults

from supervisor_rpc import call
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
autostart=false
startsecs=2
"""


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
    configure(layout, PROGRAM.format(name="api", command=command))
    supervisor.launch()
    supervisor.start("api")
    with (
        ThreadPoolExecutor() as pool,
        wait_until(lambda: socket.create_connection(("127.0.0.1", port))) as asked,
    ):
        wait_until(lambda: (layout.folder / "accepted").exists())
        configure(
            layout,
            PROGRAM.format(name="api", command="sleep 60"),
            PROGRAM.format(name="door", command=door),
        )
        reloaded = pool.submit(supervisor.reload, first="door")
        models = f"http://127.0.0.1:{port}/v1/models"
        wait_until(lambda: httpx.get(models, trust_env=False).is_success, not_yet=httpx.TransportError)
        assert not reloaded.done(), "the API has not answered yet"
        (layout.folder / "answer").touch()
        assert asked.recv(100) == b"answered"
        reloaded.result()


def test_nothing_is_stopped_where_the_door_does_not_run(stack, supervisor):
    configure(stack.layout, PROGRAM.format(name="api", command="sleep 60"))
    supervisor.launch()
    supervisor.start("api")
    pid = call(stack.layout.socket, "getProcessInfo", "api")["pid"]
    configure(
        stack.layout,
        PROGRAM.format(name="api", command="sleep 61"),
        PROGRAM.format(name="door", command="false"),
    )
    # The second time the door is known to supervisor already.
    for _ in range(2):
        with pytest.raises(SystemExit, match="door ends as soon as it is started: read .*/door.log"):
            supervisor.reload(first="door")
    assert call(stack.layout.socket, "getProcessInfo", "api")["pid"] == pid


def test_a_program_that_ends_before_supervisor_looks_at_it_is_told_as_any_other(
    stack, supervisor, monkeypatch
):
    def call_and_miss(socket, method, *arguments):
        result = call(socket, method, *arguments)
        if method == "startProcess":
            raise xmlrpc.client.Fault(Faults.SPAWN_ERROR, "SPAWN_ERROR: door")
        return result

    configure(stack.layout, PROGRAM.format(name="api", command="sleep 60"))
    supervisor.launch()
    configure(
        stack.layout,
        PROGRAM.format(name="api", command="sleep 61"),
        PROGRAM.format(name="door", command="false"),
    )
    monkeypatch.setattr("model_servers.supervisor.call", call_and_miss)
    with pytest.raises(SystemExit, match="door ends as soon as it is started: read .*/door.log"):
        supervisor.reload(first="door")


def test_the_programs_do_not_see_the_keys_of_the_users(stack, supervisor, monkeypatch):
    monkeypatch.setenv("SQLTUNE_API_KEY", "web:secret")
    configure(stack.layout, PROGRAM.format(name="api", command="sleep 60"))
    supervisor.launch()
    supervisor.start("api")
    for pid in (
        call(stack.layout.socket, "getPID"),
        call(stack.layout.socket, "getProcessInfo", "api")["pid"],
    ):
        assert b"SQLTUNE_API_KEY" not in Path(f"/proc/{pid}/environ").read_bytes()
