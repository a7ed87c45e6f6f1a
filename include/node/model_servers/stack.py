"""A host's model servers as a whole: start a model, stop a model, report."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from door.settings import FILE, Limits, Settings, SettingsFile, digest
from model_servers.adapters import lora_rank, require_adapter
from model_servers.configuration import LOOPBACK, Layout, configuration
from model_servers.ports import free_port, listen_error, wait_for_listener
from model_servers.processes import end_orphans
from model_servers.supervisor import Supervisor
from model_servers.worker import Worker, WorkerFiles, process_name, processes, program_name
from registrar import probe, queue_length, register
from sqltune.node_contracts.api_keys import VARIABLE, parse_api_keys
from sqltune.node_contracts.serving import ENGINE_VERSIONS, VLLM_VERSION, ServingSettings
from vllm_bridge.environment import environment, version_problem

CONTROLLER_TIMEOUT = 60
"""Seconds until the controller must listen."""
_DOOR_NEEDS = ("httpx", "prometheus_client", "starlette", "uvicorn")
LOG_TAIL = 2000
"""Characters of a log that an error shows."""
_SCRIPTS = (
    "batched_worker.py",
    "batching/*.py",
    "door/*.py",
    "fastchat_api_compat.py",
    "front_door.py",
    "lora.py",
    "registrar.py",
    "served_adapters.py",
    "vllm_bridge/*.py",
    "vllm_worker.py",
    "worker_interface.py",
)


class Stack:
    """The servers of a host and their folder.

    Args:
        settings: Where they listen, and how a model is loaded.
    """

    def __init__(self, settings: ServingSettings) -> None:
        self.settings = settings
        self.layout = layout_of(settings)
        self.supervisor = Supervisor(self.layout)
        self.files = WorkerFiles(self.layout.folder)
        self.serving_before: str | None = None
        """Program of a worker that served before this call; it is kept even if the call fails."""

    def workers(self) -> dict[str, Worker]:
        """The workers by program name."""
        return self.files.all()

    def program(self, name: str, model: str) -> str:
        """Program of the worker that serves a model under a name, with the settings' engine."""
        return program_name(name, model, self.settings)

    def serving(self, name: str, model: str) -> str | None:
        """Program of the worker that serves a model under a name on the settings' engine, however loaded."""
        folder, label = str(Path(model).expanduser()), self.settings.engine_label
        return next(
            (
                program
                for program, worker in self.workers().items()
                if name in worker.names and (worker.model, worker.engine_label) == (folder, label)
            ),
            None,
        )

    def up(self, name: str, model: str) -> float:
        """Serve one more model.

        Returns:
            Seconds until it answered a prompt.
        """
        self.require_usable()
        if self.settings.base_model:
            require_adapter(self.settings, model)
        program = self.serving(name, model) or self.program(name, model)
        self.serving_before = program if program in self.workers() else None
        if not self.serving_before and name == self.settings.public_name:
            self._require_unserved(name, model)
        self.load(program, name, model)
        return self.wait_until_ready(program, name)

    def _require_unserved(self, name: str, model: str) -> None:
        """Exit where a promotion has given the public name to another model: one more would take it back."""
        if worker := next((w for w in self.workers().values() if name in w.names), None):
            sys.exit(
                f"{name} is {worker.model} on {worker.engine_label} by now, and not {model} on "
                f"{self.settings.engine_label}: what is served publicly changes with a promotion only; clear "
                "the task, which then serves the model beside it"
            )

    def down(self, name: str) -> None:
        """Stop all workers that answer to a name."""
        for program, worker in self.workers().items():
            if name in worker.names:
                self.remove(program)

    def require_usable(self) -> None:
        """Exit, before anything is changed, where no model can be served, or not without a key."""
        _require_modules()
        if self.settings.requires_key and not _given_keys():
            sys.exit(
                f"{VARIABLE} is empty, and nothing is served without an API key: set the variable that "
                "serving.api_key_env of the cluster file names, in Airflow's environment; what is served now "
                "was left as it is"
            )

    def load(self, program: str, name: str, model: str) -> None:
        """Add a worker and start what is not up; where that exits, a worker that is new is removed."""
        known = program in self.workers()
        self.add(program, name, model)
        try:
            self.apply()
        except SystemExit:
            if not known:
                self._forget(program)
            raise

    def _forget(self, program: str) -> None:
        """Remove a worker that was not started; the next call would start it, for nobody."""
        self.files.remove(program)
        if not self.workers() and self.supervisor.running():
            self.supervisor.shut_down()

    def add(self, program: str, name: str, model: str) -> None:
        """Give a worker a port, a name and a file; a worker that has one keeps it."""
        if program in self.workers():
            return
        if self.settings.engine == "vllm" and (problem := version_problem(VLLM_VERSION, environment())):
            sys.exit(problem)
        worker = self._new_worker(str(Path(model).expanduser()))
        self.files.put(program, worker.model_copy(update={"names": [name]}))

    def _new_worker(self, model: str) -> Worker:
        """A worker with the settings, or one of a process that runs already: that stays as it is."""
        settings = self.settings
        base = str(Path(settings.base_model).expanduser()) if settings.base_model else ""
        rank = lora_rank(settings, model) if base else 0
        process = process_name(base, rank, settings) if base else ""
        if base and (running := processes(self.workers()).get(process)):
            return running.model_copy(update={"model": model, "version": None, "run": ""})
        return Worker(
            model=model,
            base=base,
            process=process,
            lora_rank=rank,
            dtype=settings.dtype,
            device=settings.device,
            threads=settings.threads,
            num_gpus=settings.num_gpus,
            max_gpu_memory=settings.max_gpu_memory,
            engine=settings.engine,
            engine_version=ENGINE_VERSIONS[settings.engine],
            deterministic=settings.deterministic,
            cache_gib=settings.cache_gib,
            port=self._free_port(),
            bind=LOOPBACK,
        )

    def _free_port(self) -> int:
        first, last = self.settings.worker_ports
        port = free_port(LOOPBACK, first, last, {w.port for w in self.workers().values()})
        if port is None:
            sys.exit(
                f"no free port on {LOOPBACK} between {first} and {last}: "
                "widen serving.worker_ports in the cluster file"
            )
        return port

    def rename(self, program: str, names: list[str], **changes: object) -> None:
        """Make a running worker answer to these names from the next request on."""
        worker = self.workers()[program].model_copy(update={"names": names, **changes})
        self.files.put(program, worker)

    def remove(self, program: str) -> None:
        """Stop a worker; the last one takes controller and API with it."""
        worker = self.workers().get(program)
        if worker:
            with contextlib.suppress(OSError):
                others = [other for other in self._programs_at(worker.url) if other != program]
                register(self.layout.controller_url, worker.url, others)
        self.files.remove(program)
        if worker and worker.process:
            with contextlib.suppress(OSError):
                # It frees the adapter as it answers: the next one of this name may be trained anew.
                queue_length(worker.url)
        if self.workers():
            self.apply()
        elif self.supervisor.running():
            self.supervisor.shut_down()
        else:
            end_orphans(self.layout.folder)

    def _programs_at(self, url: str) -> list[str]:
        """The workers of the process that listens at an address."""
        return [program for program, worker in self.workers().items() if worker.url == url]

    def apply(self) -> None:
        """Apply the worker files to supervisor; start it when it is down."""
        _require_modules()
        self.write()
        if not self.supervisor.running():
            end_orphans(self.layout.folder)
            self.check_ports()
            self.supervisor.launch()
        # On an upgraded host the door waits for its port, and has it the moment that the API leaves it.
        self.supervisor.reload(first="door")
        self.supervisor.start("controller")
        # A worker that finds no controller exits at once.
        self._wait_for_controller()
        for program in ["registrar", *processes(self.workers()), "api", "door"]:
            self.supervisor.start(program)

    def write(self) -> None:
        """Write supervisor's configuration, the front door's settings, and copies of the scripts.

        The scripts are copied so that a new version of the code does not restart what serves.
        """
        folder = Path(__file__).resolve().parents[1]
        for source in (path for pattern in _SCRIPTS for path in folder.glob(pattern)):
            target = self.layout.scripts / source.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
        # The access log is in it, with prompts where the cluster file says so.
        self.layout.folder.chmod(0o700)
        self._keep_addresses()
        # A user's key, from before there was the front door.
        (self.layout.folder / "api_key").unlink(missing_ok=True)
        write_private(self.layout.folder / FILE, self._door_settings().dump())
        write_private(self.layout.configuration_file, configuration(self.layout, self.workers()))

    def _keep_addresses(self) -> None:
        """Write down where the workers of an older version listen: at the address that is the door's now."""
        for program, worker in self.workers().items():
            if not worker.bind:
                self.files.put(program, worker.model_copy(update={"bind": self.settings.bind}))

    def _door_settings(self) -> Settings:
        settings = self.settings
        return Settings(
            public_name=settings.public_name,
            keys=self._key_digests(),
            internal_key=digest(self.internal_key()),
            limits=Limits(**settings.limits.model_dump()),
            log_prompts=settings.log_prompts,
            requires_key=settings.requires_key,
        )

    def _key_digests(self) -> dict[str, str]:
        """The keys of this call; those of the call before where a key is required and this one has none."""
        keys = _given_keys()
        if self.settings.requires_key and not keys and (self.layout.folder / FILE).exists():
            return SettingsFile(self.layout.folder).current().keys
        return {name: digest(key) for name, key in keys.items()}

    def internal_key(self) -> str:
        """The key with which a model is probed through the front door; made once."""
        path = self.layout.key_file
        if not path.exists():
            write_private(path, secrets.token_urlsafe(32))
        return path.read_text()

    def check_ports(self) -> None:
        """Exit when another process listens where controller or front door are to: it would be asked."""
        binds = {"controller_port": LOOPBACK, "api_port": self.settings.bind}
        for field, bind in binds.items():
            port = self.settings.model_dump()[field]
            if error := listen_error(bind, port):
                sys.exit(
                    f"cannot listen on {bind}:{port} ({error}): stop the process that listens there, or set "
                    f"serving.{field} or serving.bind in the cluster file"
                )

    def _wait_for_controller(self) -> None:
        port = self.settings.controller_port

        def give_up() -> NoReturn:
            self.fail(
                "controller", f"controller does not listen on {LOOPBACK}:{port} within {CONTROLLER_TIMEOUT} s"
            )

        wait_for_listener(LOOPBACK, port, CONTROLLER_TIMEOUT, give_up)

    def answer_error(self, name: str) -> str:
        """Why the model of a name does not answer a prompt through the front door; empty when it does."""
        return probe(self.layout.api_url, name, self.internal_key())

    def wait_until_ready(self, program: str, name: str) -> float:
        """Wait until a model has answered a prompt under one of its names; exits with its log otherwise.

        Returns:
            Seconds until the answer.
        """
        began = time.monotonic()
        while error := self._readiness_error(program, name):
            self._fail_if_dead(program)
            if time.monotonic() - began > self.settings.ready_timeout:
                self.fail(
                    program,
                    f"{name} did not answer within {self.settings.ready_timeout} s (last error: {error}): "
                    "raise serving.ready_timeout, or read the log",
                )
            time.sleep(0.5)
        return time.monotonic() - began

    def _readiness_error(self, program: str, name: str) -> str:
        """Why a worker does not answer yet; empty when it does."""
        url = self.workers()[program].url
        try:
            queue_length(url)
            # The registrar would do this within a second; until then the API knows no such worker.
            register(self.layout.controller_url, url, self._programs_at(url))
        except OSError as e:
            return str(e)
        return self.answer_error(name)

    def _fail_if_dead(self, program: str) -> None:
        process = self.workers()[program].process or program
        if dead := self.supervisor.dead([process, "controller", "api", "door"]):
            name, reason = dead
            self.fail(program, f"{name} ends as soon as it is started ({reason})", name)

    def fail(self, program: str, reason: str, log: str = "") -> NoReturn:
        """Exit with the end of a log, and remove the worker unless it served before.

        Args:
            program: The worker, or another program.
            reason: What went wrong.
            log: Program whose log is shown; the worker's own by default.
        """
        worker = self.workers().get(program)
        path = self.layout.log_file(log or (worker and worker.process) or program)
        tail = path.read_text(errors="replace")[-LOG_TAIL:] if path.exists() else "(no log)"
        if program in self.workers() and program != self.serving_before:
            self.remove(program)
        sys.exit(f"{reason}\n--- {path} ---\n{tail}")


def _given_keys() -> dict[str, str]:
    """The API keys in this script's environment, by name."""
    return parse_api_keys(os.environ.get(VARIABLE, ""))


def _require_modules() -> None:
    """Exit where the node environment is that of an older version, before anything that serves is stopped."""
    if missing := [module for module in _DOOR_NEEDS if find_spec(module) is None]:
        sys.exit(
            f"the node environment {sys.prefix} has no {', '.join(missing)}, which the front door needs: run "
            "include/node/bootstrap.sh on this host again; what is served now was left as it is"
        )


def layout_of(settings: ServingSettings) -> Layout:
    """Addresses and files for the settings."""
    folder = Path(settings.folder).expanduser()
    # Not in the folder: the path of a Unix socket may have 107 bytes, and a work folder may be deep.
    sockets = f"/tmp/sqltune-{os.getuid()}-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
    return Layout(
        folder=folder,
        socket=f"{sockets}.sock",
        api_socket=f"{sockets}-api.sock",
        python=sys.executable,
        bind=settings.bind,
        controller_port=settings.controller_port,
        api_port=settings.api_port,
        scripts=folder / "bin",
    )


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, atomically: the door may read it at any time."""
    partial = path.with_name(f"{path.name}.partial")
    partial.touch(mode=0o600)
    partial.write_text(text)
    partial.rename(path)
