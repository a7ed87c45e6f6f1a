"""The model server of a host: FastChat's controller, model workers and OpenAI-style API, kept up by supervisor.

    python serving.py up '{"name": …, "model": …, …}'       # serve one more model; RESULT when it has answered a real prompt
    python serving.py down '{"name": …, …}'                 # stop serving it; the last one takes controller and API with it
    python serving.py switch '{"name": …, "model": …, …}'   # serve another model under a name that is served
    python serving.py status '{…}'

Started in order: controller, worker, API. A model is up when it has answered, not when it has registered. Which worker a name stands for is
written in `workers/*.json` and told to the controller here and by `registrar.py`; so a name moves from one running worker to another.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import xmlrpc.client
from pathlib import Path

from registrar import post, queue_length, register

PROBE = "-- SQL\nSELECT"
QUIET = 3.0
"""Seconds without a request after which a worker that has no name is drained: the API may have asked for its address just before."""


class UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over supervisor's socket file."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def make_connection(self, host: object) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("localhost")
        connection.connect = lambda: setattr(connection, "sock", self._open())  # type: ignore[method-assign]
        return connection

    def _open(self) -> socket.socket:
        s = socket.socket(socket.AF_UNIX)
        s.connect(self.path)
        return s


class Stack:
    """One host's servers and their folder."""

    def __init__(self, want: dict) -> None:
        self.want = want
        self.folder = Path(want["folder"]).expanduser()
        self.bind = want["bind"]
        self.spared: str | None = None
        """A worker that served before this was called, and goes on whatever comes of it."""
        self.controller = f"http://{self.bind}:{want['controller_port']}"
        self.api = f"http://{self.bind}:{want['api_port']}"
        # Not in the folder: a socket's path may have 107 bytes, and a work folder may be deep.
        self.socket = (
            f"/tmp/sqltune-{os.getuid()}-{hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]}.sock"
        )

    @property
    def supervisor(self) -> xmlrpc.client.ServerProxy:
        return xmlrpc.client.ServerProxy("http://localhost", transport=UnixTransport(self.socket))

    def running(self) -> bool:
        """Whether supervisor answers."""
        try:
            return self.supervisor.supervisor.getState()["statename"] == "RUNNING"
        except (OSError, xmlrpc.client.Error, http.client.HTTPException):
            return False

    def workers(self) -> dict[str, dict]:
        """What is served: program name to what it was started with, and the names it answers to (one `name` in files of the first version)."""
        found = {p.stem: json.loads(p.read_text()) for p in sorted((self.folder / "workers").glob("*.json"))}
        return {program: {"names": [w["name"]] if "name" in w else []} | w for program, w in found.items()}

    def program(self, name: str, command: list[str], **more: str) -> str:
        """One program of supervisor's configuration. % is supervisor's own sign, and is doubled."""
        options = {
            "command": " ".join(command),
            "autostart": "false",
            "autorestart": "true",
            "startsecs": "2",
            "stopasgroup": "true",
            "killasgroup": "true",
            "stopwaitsecs": "20",
            "redirect_stderr": "true",
            "stdout_logfile": str(self.folder / f"{name}.log"),
            "stdout_logfile_maxbytes": "20MB",
            "stdout_logfile_backups": "1",
        } | more
        return f"[program:{name}]\n" + "".join(f"{k}={v.replace('%', '%%')}\n" for k, v in options.items())

    def helper(self, name: str) -> str:
        """Path of one of our scripts, copied beside what runs it: a new version of the code must not restart what serves."""
        target = self.folder / "bin" / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(Path(__file__).with_name(name).read_bytes())
        return str(target)

    def write(self) -> None:
        """supervisor's configuration: controller, API, and a worker for each model."""
        python = sys.executable
        address = ["--host", self.bind, "--port"]
        secret = os.environ.get("SQLTUNE_API_KEY", "")
        key = self.folder / "api_key"
        key.touch(mode=0o600)
        key.write_text(secret)
        programs = [
            self.program(
                "controller",
                [python, "-m", "fastchat.serve.controller", *address, str(self.want["controller_port"])],
                priority="10",
            ),
            # Another key is another program for supervisor: it starts it anew.
            self.program(
                "api",
                [
                    python,
                    self.helper("fastchat_api_compat.py"),
                    *address,
                    str(self.want["api_port"]),
                    "--controller-address",
                    self.controller,
                    "--api-key-file",
                    str(key),
                ],
                priority="30",
                environment=f'SQLTUNE_API_KEY_HASH="{hashlib.sha256(secret.encode()).hexdigest()[:12]}"',
            ),
            self.program(
                "registrar",
                [python, self.helper("registrar.py"), str(self.folder), self.controller, self.bind],
                priority="15",
            ),
        ]
        for name, w in self.workers().items():
            command = [
                python,
                "-m",
                "fastchat.serve.model_worker",
                "--model-path",
                w["model"],
                "--model-names",
                name,
                "--no-register",
                *address,
                str(w["port"]),
                "--worker-address",
                f"http://{self.bind}:{w['port']}",
                "--controller-address",
                self.controller,
                "--limit-worker-concurrency",
                "64",
                "--dtype",
                w["dtype"],
                "--device",
                w["device"],
            ]
            threads = f'OMP_NUM_THREADS="{w["threads"]}"' if w.get("threads") else ""
            programs.append(
                self.program(name, command, priority="20", **({"environment": threads} if threads else {}))
            )
        head = (
            f"[supervisord]\nnodaemon=false\nlogfile={self.folder}/supervisord.log\npidfile={self.folder}/supervisord.pid\nchildlogdir={self.folder}\nstrip_ansi=true\n"
            f"[unix_http_server]\nfile={self.socket}\nchmod=0700\n[supervisorctl]\nserverurl=unix://{self.socket}\n"
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        )
        config = self.folder / "supervisord.conf"
        config.touch(mode=0o600)
        config.write_text(head + "\n".join(programs))

    def apply(self) -> None:
        """Let supervisor follow the configuration; started if it is not there."""
        self.write()
        if not self.running():
            self.end_orphans()
            self.check_ports()
            Path(self.socket).unlink(missing_ok=True)
            # A gang's marker would make the served processes look like the gang's own.
            # Marked as ours: who looks for strangers on the GPUs does not take the champion for one.
            env = {k: v for k, v in os.environ.items() if k != "SQLTUNE_GANG"} | {
                "SQLTUNE_SERVING": "1",
                "LOGDIR": "",
            }
            # FastChat would keep logs of its own in whatever folder this was called from; supervisor has what it prints.
            subprocess.run(
                [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.folder / "supervisord.conf")],
                check=True,
                env=env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
            )
        added, changed, removed = self.supervisor.supervisor.reloadConfig()[0]
        for name in [*removed, *changed]:
            self.supervisor.supervisor.stopProcessGroup(name)
            self.supervisor.supervisor.removeProcessGroup(name)
        for name in [*added, *changed]:
            self.supervisor.supervisor.addProcessGroup(name)
        self.start("controller")
        # A worker that finds no controller ends at once.
        self.wait_for_port(self.want["controller_port"], "controller")
        for name in ["registrar", *self.workers(), "api"]:
            self.start(name)

    def end_orphans(self) -> None:
        """End our servers that outlived their supervisor (killed, or out of memory): they hold the ports, and nobody would start them again. Known by where they run."""
        here = str(self.folder.resolve())
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (
                    os.readlink(process / "cwd") == here
                    and b"SQLTUNE_SERVING=1" in (process / "environ").read_bytes().split(b"\0")
                    and int(process.name) != os.getpid()
                ):
                    print(f"ending pid {process.name}, which its supervisor left", flush=True)
                    os.kill(int(process.name), signal.SIGKILL)
                    wait_until_gone(int(process.name), 10)

    def check_ports(self) -> None:
        """Exits when somebody else listens where the controller or the API is to: our workers would register with it."""
        for field in ("controller_port", "api_port"):
            with socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    s.bind((self.bind, self.want[field]))
                except OSError as e:
                    sys.exit(
                        f"can't listen on {self.bind}:{self.want[field]} ({e.strerror}): end what listens there, or set serving.{field} or serving.bind in the cluster file"
                    )

    def start(self, name: str) -> None:
        """Start a program that is not up."""
        if self.supervisor.supervisor.getProcessInfo(name)["statename"] not in (
            "RUNNING",
            "STARTING",
            "BACKOFF",
        ):
            self.supervisor.supervisor.startProcess(name, False)

    def wait_for_port(self, port: int, name: str) -> None:
        """Until one of our servers listens; exits with its log when it does not."""
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection((self.bind, port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    self.fail(name, f"{name} does not listen on {self.bind}:{port} within 60 s")
                time.sleep(0.1)

    def free_port(self) -> int:
        """A port for a worker: in the range, not given away, and nobody's."""
        first, last = self.want["worker_ports"]
        used = {w["port"] for w in self.workers().values()}
        for port in range(first, last + 1):
            with socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if port not in used:
                    try:
                        s.bind((self.bind, port))
                    except OSError:
                        continue
                    return port
        sys.exit(
            f"no free port on {self.bind} between {first} and {last}: widen worker_ports in the cluster file"
        )

    def address(self, program: str) -> str:
        """Where a worker listens."""
        return f"http://{self.bind}:{self.workers()[program]['port']}"

    def add(self, program: str, name: str) -> None:
        """Give a worker its port, its name and its program; one that is there keeps what it has."""
        want = self.want
        if program in self.workers():
            return
        (self.folder / "workers").mkdir(parents=True, exist_ok=True)
        worker = {
            "names": [name],
            "model": str(Path(want["model"]).expanduser()),
            "dtype": want["dtype"],
            "device": want["device"],
            "threads": want["threads"],
            "port": self.free_port(),
        }
        self.keep(program, worker)

    def keep(self, program: str, worker: dict) -> None:
        """Write what a worker is; whole or not at all, since the registrar reads it at any time."""
        path = self.folder / "workers" / f"{program}.json"
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(worker))
        partial.rename(path)

    def rename(self, program: str, names: list[str]) -> None:
        """Let a running worker answer to these names from now on."""
        self.keep(program, self.workers()[program] | {"names": names})
        register(self.controller, self.address(program), names)

    def drain(self, program: str) -> float:
        """Wait until a worker without a name has answered all it was asked; seconds it took. One that never ends is stopped after `drain_timeout`.

        By its connections, not by its queue: the API asks a worker three things before it asks for the text, and the queue counts the last alone.
        """
        began = quiet_since = time.monotonic()
        port = self.workers()[program]["port"]
        while (
            time.monotonic() - began < self.want["drain_timeout"] and time.monotonic() - quiet_since < QUIET
        ):
            time.sleep(0.05)
            # The clock is read after the look: quiet is counted from a moment at which it was busy for certain.
            if connections(port):
                quiet_since = time.monotonic()
        return time.monotonic() - began

    def remove(self, program: str) -> None:
        """Forget a worker; the last one takes controller and API with it."""
        if program in self.workers():
            with contextlib.suppress(OSError):
                register(self.controller, self.address(program), [])
        (self.folder / "workers" / f"{program}.json").unlink(missing_ok=True)
        if self.workers():
            self.apply()
        elif not self.running():
            self.end_orphans()
        else:
            pid = self.supervisor.supervisor.getPID()
            self.supervisor.supervisor.shutdown()
            # Its socket goes before it does.
            if not wait_until_gone(pid, 60):
                sys.exit(
                    f"supervisor (pid {pid}) was told to end, and is still there after 60 s: read {self.folder}/supervisord.log"
                )

    def answers(self, name: str) -> str:
        """'' when the model of that name answers a real prompt through the API, else what was heard."""
        try:
            answer = post(
                f"{self.api}/v1/completions",
                {"model": name, "prompt": PROBE, "max_tokens": 4, "temperature": 0},
                60,
                os.environ.get("SQLTUNE_API_KEY", ""),
            )
        except urllib.error.HTTPError as e:
            return f"{e} {e.read()[:300].decode(errors='replace')}"
        except (OSError, http.client.HTTPException, ValueError) as e:
            return str(e)
        return "" if answer and "choices" in answer else json.dumps(answer)[:300]

    def wait_until_answers(self, program: str, name: str) -> float:
        """Seconds until the model answered a real prompt under a name it has; exits with the logs when it does not."""
        began = time.monotonic()
        reason = "nothing was heard"
        while (passed := time.monotonic() - began) < self.want["ready_timeout"]:
            try:
                queue_length(self.address(program))
                # The registrar would do so within a second; the API has no answer for a name that is not known.
                register(self.controller, self.address(program), self.workers()[program]["names"])
                reason = self.answers(name)
                if not reason:
                    return passed
            except OSError as e:
                reason = str(e)
            self.give_up_if_dead(program)
            time.sleep(0.5)
        self.fail(
            program,
            f"{name} did not answer within {self.want['ready_timeout']} s (last: {reason}): raise serving.ready_timeout, or read the log",
        )

    def switch(self, name: str) -> dict:
        """Serve the wanted model under a name that another one may have; the other goes when the new one has answered under it.

        The new one answers a real prompt under a name of its own first. When it fails under the public name, that goes back to the old one, and this exits.
        """
        program = program_of(self.want)
        model = Path(self.want["model"]).expanduser()
        if not (model / "config.json").is_file():
            sys.exit(
                f"{model} holds no model: it was removed, or never merged on this host; choose another version, or train again"
            )
        old = [p for p, w in self.workers().items() if name in w["names"] and p != program]
        # A switch that was cut off leaves one that has no name any more, be it the one that is wanted now.
        nameless = [p for p, w in self.workers().items() if not w["names"] and p != program]
        own = f"{name}-{program.rpartition('-')[2]}"
        there = self.workers().get(program)
        if there and name in there["names"]:
            self.spared = program
        elif there:
            self.keep(program, there | {"names": [own]})
        self.add(program, own)
        self.apply()
        ready = self.wait_until_answers(program, self.workers()[program]["names"][0])
        # Both have the name for a moment, so that no request finds none.
        self.rename(program, [name])
        for other in old:
            self.rename(other, [])
        reason = self.answers(name)
        if reason:
            for other in old:
                self.rename(other, [name])
            self.fail(
                program,
                f"{name}: the new model answered under its own name and not under this one ({reason}); {'the old one serves on' if old else 'nothing is served'}",
            )
        drained = [self.drain(other) for other in old]
        for other in [*old, *nameless]:
            self.remove(other)
        return {
            "ready_after": round(ready, 1),
            "replaced": old,
            "drained_after": round(max(drained, default=0.0), 1),
        }

    def give_up_if_dead(self, program: str) -> None:
        """A program that supervisor gave up on will not answer."""
        with contextlib.suppress(OSError, xmlrpc.client.Error):
            for info in self.supervisor.supervisor.getAllProcessInfo():
                if info["name"] in (program, "controller", "api") and info["statename"] == "FATAL":
                    self.fail(
                        program,
                        f"{info['name']} ends as soon as it is started ({info['spawnerr'] or info['description']})",
                        info["name"],
                    )

    def fail(self, program: str, reason: str, log: str = "") -> None:
        """Exit with the end of a log, the program's own or the one that is named; the worker is forgotten, unless it is what serves."""
        path = self.folder / f"{log or program}.log"
        words = path.read_text(errors="replace")[-2000:] if path.exists() else "(no log)"
        if program in self.workers() and program != self.spared:
            self.remove(program)
        sys.exit(f"{reason}\n--- {path} ---\n{words}")


def wait_until_gone(pid: int, seconds: float) -> bool:
    """Whether a process ended within this time; a zombie has."""
    deadline = time.monotonic() + seconds
    stat = Path(f"/proc/{pid}/stat")
    with contextlib.suppress(OSError):
        while stat.read_text().rpartition(")")[2].split()[0] != "Z":
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
    return True


def connections(port: int) -> int:
    """TCP connections that are open to a port of this host; read from the kernel's table, so that the look opens none."""
    found = 0
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(FileNotFoundError):
            found += sum(
                fields[1].endswith(f":{port:04X}") and fields[3] == "01"
                for fields in map(str.split, Path(table).read_text().splitlines()[1:])
            )
    return found


def program_of(want: dict) -> str:
    """A worker's program name: what it serves, and the files it serves it from."""
    return f"worker-{want['name']}-{hashlib.sha256(want.get('model', '').encode()).hexdigest()[:8]}"


def main(verb: str, want: dict) -> dict:
    """Do one thing and say what is served after it."""
    stack = Stack(want)
    stack.folder.mkdir(parents=True, exist_ok=True)
    result: dict = {}
    # A promotion by hand and a nightly run's may come at the same time: one after the other.
    lock = (stack.folder / "lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    if verb == "up":
        program = program_of(want)
        stack.spared = program if program in stack.workers() else None
        stack.add(program, want["name"])
        stack.apply()
        result["ready_after"] = round(stack.wait_until_answers(program, want["name"]), 1)
    elif verb == "down":
        for program, worker in stack.workers().items():
            if want["name"] in worker["names"]:
                stack.remove(program)
    elif verb == "switch":
        result = stack.switch(want["name"])
    elif verb != "status":
        sys.exit(f"{verb!r} is not one of up, down, switch, status")
    return result | {
        "serving": {name: w["model"] for w in stack.workers().values() for name in w["names"]},
        "running": stack.running(),
        "api": f"{stack.api}/v1",
    }


if __name__ == "__main__":
    print("RESULT " + json.dumps(main(sys.argv[1], json.loads(sys.argv[2]))))
