"""The model server of a host: FastChat's controller, model workers and OpenAI-style API, kept up by supervisor.

    python serving.py up '{"name": …, "model": …, …}'       # serve one more model; RESULT when it has answered a real prompt
    python serving.py down '{"name": …, …}'                 # stop serving it; the last one takes controller and API with it
    python serving.py switch '{"name": …, "model": …, …}'   # serve another model under a name that is served
    python serving.py status '{…}'

Started in order: controller, worker, API. A model is up when it has answered, not when it has registered.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import xmlrpc.client
from pathlib import Path

PROBE = "-- SQL\nSELECT"


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
        self.controller = f"http://{self.bind}:{want['controller_port']}"
        self.api = f"http://{self.bind}:{want['api_port']}"
        # Not in the folder: a socket's path may have 107 bytes, and a work folder may be deep.
        self.socket = f"/tmp/sqltune-{os.getuid()}-{hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]}.sock"

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
        """What is served: program name to what it was started with."""
        return {p.stem: json.loads(p.read_text()) for p in sorted((self.folder / "workers").glob("*.json"))}

    def program(self, name: str, command: list[str], **more: str) -> str:
        """One program of supervisor's configuration. % is supervisor's own sign, and is doubled."""
        options = {"command": " ".join(command), "autostart": "false", "autorestart": "true", "startsecs": "2", "stopasgroup": "true", "killasgroup": "true", "stopwaitsecs": "20",
                   "redirect_stderr": "true", "stdout_logfile": str(self.folder / f"{name}.log"), "stdout_logfile_maxbytes": "20MB", "stdout_logfile_backups": "1"} | more
        return f"[program:{name}]\n" + "".join(f"{k}={v.replace('%', '%%')}\n" for k, v in options.items())

    def write(self) -> None:
        """supervisor's configuration: controller, API, and a worker for each model."""
        python = sys.executable
        address = ["--host", self.bind, "--port"]
        key = self.want.get("api_key")
        programs = [
            self.program("controller", [python, "-m", "fastchat.serve.controller", *address, str(self.want["controller_port"])], priority="10"),
            self.program("api", [python, "-m", "fastchat_api_compat", *address, str(self.want["api_port"]), "--controller-address", self.controller,
                                 *(["--api-keys", key] if key else [])], priority="30"),
        ]
        for name, w in self.workers().items():
            command = [python, "-m", "fastchat.serve.model_worker", "--model-path", w["model"], "--model-names", w["name"], *address, str(w["port"]),
                       "--worker-address", f"http://{self.bind}:{w['port']}", "--controller-address", self.controller,
                       "--limit-worker-concurrency", "64", "--dtype", w["dtype"], "--device", w["device"]]
            threads = f'OMP_NUM_THREADS="{w["threads"]}"' if w.get("threads") else ""
            programs.append(self.program(name, command, priority="20", **({"environment": threads} if threads else {})))
        head = (f"[supervisord]\nnodaemon=false\nlogfile={self.folder}/supervisord.log\npidfile={self.folder}/supervisord.pid\nchildlogdir={self.folder}\nstrip_ansi=true\n"
                f"[unix_http_server]\nfile={self.socket}\nchmod=0700\n[supervisorctl]\nserverurl=unix://{self.socket}\n"
                "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n")
        config = self.folder / "supervisord.conf"
        config.touch(mode=0o600)
        config.write_text(head + "\n".join(programs))

    def apply(self) -> None:
        """Let supervisor follow the configuration; started if it is not there."""
        self.write()
        if not self.running():
            Path(self.socket).unlink(missing_ok=True)
            # A gang's marker would make the served processes look like the gang's own.
            # Marked as ours: who looks for strangers on the GPUs does not take the champion for one.
            env = {k: v for k, v in os.environ.items() if k != "SQLTUNE_GANG"} | {"SQLTUNE_SERVING": "1"}
            subprocess.run([sys.executable, "-m", "supervisor.supervisord", "-c", str(self.folder / "supervisord.conf")], check=True, env=env, stdin=subprocess.DEVNULL, capture_output=True)
        added, changed, removed = self.supervisor.supervisor.reloadConfig()[0]
        for name in [*removed, *changed]:
            self.supervisor.supervisor.stopProcessGroup(name)
            self.supervisor.supervisor.removeProcessGroup(name)
        for name in [*added, *changed]:
            self.supervisor.supervisor.addProcessGroup(name)
        self.start("controller")
        # A worker that finds no controller ends at once.
        self.wait_for_port(self.want["controller_port"], "controller")
        for name in [*self.workers(), "api"]:
            self.start(name)

    def start(self, name: str) -> None:
        """Start a program that is not up."""
        if self.supervisor.supervisor.getProcessInfo(name)["statename"] not in ("RUNNING", "STARTING", "BACKOFF"):
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
        sys.exit(f"no free port on {self.bind} between {first} and {last}: widen worker_ports in the cluster file")

    def add(self, program: str) -> None:
        """Give a worker its port and its program."""
        want = self.want
        (self.folder / "workers").mkdir(parents=True, exist_ok=True)
        worker = {"name": want["name"], "model": str(Path(want["model"]).expanduser()), "dtype": want["dtype"], "device": want["device"], "threads": want["threads"], "port": self.free_port()}
        (self.folder / "workers" / f"{program}.json").write_text(json.dumps(worker))

    def remove(self, program: str) -> None:
        """Forget a worker; the last one takes controller and API with it."""
        (self.folder / "workers" / f"{program}.json").unlink(missing_ok=True)
        if not self.running():
            return
        if self.workers():
            self.apply()
            self.post(f"{self.controller}/refresh_all_workers", {}, 30)
        else:
            self.supervisor.supervisor.shutdown()
            deadline = time.monotonic() + 60
            while Path(self.socket).exists() and time.monotonic() < deadline:
                time.sleep(0.2)

    def post(self, url: str, body: dict, timeout: float) -> dict | None:
        """POST JSON; the answer, or None when it is empty."""
        headers = {"Content-Type": "application/json"}
        if self.want.get("api_key"):
            headers["Authorization"] = f"Bearer {self.want['api_key']}"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        # Our own servers, by address: never through a proxy that the environment names.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=timeout) as answer:
            text = answer.read()
        return json.loads(text) if text.strip() else None

    def wait_until_answers(self, program: str) -> float:
        """Seconds until the model answered a real prompt through the API; exits with the logs when it does not."""
        began = time.monotonic()
        port = self.workers()[program]["port"]
        reason = "nothing was heard"
        while (passed := time.monotonic() - began) < self.want["ready_timeout"]:
            try:
                # A worker registers before it listens: when the controller's look at it comes too early, it is unknown until its
                # next heartbeat, 45 s later. So it is registered here, again and again, until it answers.
                self.post(f"{self.controller}/register_worker", {"worker_name": f"http://{self.bind}:{port}", "check_heart_beat": True, "worker_status": None}, 10)
                answer = self.post(f"{self.api}/v1/completions", {"model": self.want["name"], "prompt": PROBE, "max_tokens": 4, "temperature": 0}, 60)
                if answer and "choices" in answer:
                    return passed
                reason = json.dumps(answer)[:300]
            except (urllib.error.URLError, OSError, http.client.HTTPException, ValueError) as e:
                reason = str(e)
            self.give_up_if_dead(program)
            time.sleep(0.5)
        self.fail(program, f"{self.want['name']} did not answer within {self.want['ready_timeout']} s (last: {reason}): raise serving.ready_timeout, or read the log")

    def give_up_if_dead(self, program: str) -> None:
        """A program that supervisor gave up on will not answer."""
        with contextlib.suppress(OSError, xmlrpc.client.Error):
            for info in self.supervisor.supervisor.getAllProcessInfo():
                if info["name"] in (program, "controller", "api") and info["statename"] == "FATAL":
                    self.fail(info["name"], f"{info['name']} ends as soon as it is started ({info['spawnerr'] or info['description']})")

    def fail(self, program: str, reason: str) -> None:
        """Exit with the end of the log; the worker is forgotten."""
        log = self.folder / f"{program}.log"
        words = log.read_text(errors="replace")[-2000:] if log.exists() else "(no log)"
        self.remove(program)
        sys.exit(f"{reason}\n--- {log} ---\n{words}")


def program_of(want: dict) -> str:
    """A worker's program name: the public name and the model, so that two models may have one public name for a moment."""
    return f"worker-{want['name']}-{hashlib.sha256(want.get('model', '').encode()).hexdigest()[:8]}"


def main(verb: str, want: dict) -> dict:
    """Do one thing and say what is served after it."""
    stack = Stack(want)
    stack.folder.mkdir(parents=True, exist_ok=True)
    result: dict = {}
    if verb == "up":
        program = program_of(want)
        if program not in stack.workers():
            stack.add(program)
        stack.apply()
        result["ready_after"] = round(stack.wait_until_answers(program), 1)
    elif verb == "down":
        for program, worker in stack.workers().items():
            if worker["name"] == want["name"]:
                stack.remove(program)
    elif verb == "switch":
        # The new one answers before the old one goes; in between both carry the name.
        program = program_of(want)
        old = [p for p, w in stack.workers().items() if w["name"] == want["name"] and p != program]
        if program not in stack.workers():
            stack.add(program)
        stack.apply()
        result["ready_after"] = round(stack.wait_until_answers(program), 1)
        for other in old:
            stack.remove(other)
        result["replaced"] = old
    elif verb != "status":
        sys.exit(f"{verb!r} is not one of up, down, switch, status")
    return result | {"serving": {w["name"]: w["model"] for w in stack.workers().values()}, "running": stack.running(), "api": f"{stack.api}/v1"}


if __name__ == "__main__":
    print("RESULT " + json.dumps(main(sys.argv[1], json.loads(sys.argv[2]))))
