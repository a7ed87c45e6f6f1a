"""supervisor's configuration for the model servers, as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import registrar
from model_servers.worker import Worker, processes
from sqltune.node_contracts.serving import Engine

LOOPBACK = "127.0.0.1"
"""Address of everything but the front door: whoever reaches the controller can register a worker."""
MAX_REQUESTS = 64
"""Requests that a worker answers at the same time; more wait."""
CONTROLLER_PRIORITY, REGISTRAR_PRIORITY, WORKER_PRIORITY, API_PRIORITY = "10", "15", "20", "30"
DOOR_PRIORITY = "40"
_PROGRAM_OPTIONS = {
    # Programs are started in order by `Stack.apply`.
    "autostart": "false",
    "autorestart": "true",
    "startsecs": "2",
    "stopasgroup": "true",
    "killasgroup": "true",
    "stopwaitsecs": "20",
    "redirect_stderr": "true",
    "stdout_logfile_maxbytes": "20MB",
    "stdout_logfile_backups": "1",
}


@dataclass(frozen=True)
class Layout:
    """Addresses and files of a host's model servers.

    Attributes:
        folder: Folder of configuration, logs and worker files.
        socket: supervisor's Unix socket.
        api_socket: Unix socket of FastChat's API, which only its user can reach.
        python: Interpreter of the node environment.
        bind: Address that the front door listens on.
        controller_port: TCP port of the controller, on loopback.
        api_port: TCP port of the front door.
        scripts: Folder with the copies of the scripts.
    """

    folder: Path
    socket: str
    api_socket: str
    python: str
    bind: str
    controller_port: int
    api_port: int
    scripts: Path

    @property
    def controller_url(self) -> str:
        """Where the controller listens."""
        return f"http://{LOOPBACK}:{self.controller_port}"

    @property
    def api_url(self) -> str:
        """Where the front door listens."""
        return f"http://{self.bind}:{self.api_port}"

    @property
    def key_file(self) -> Path:
        """File with the servers' own key for the front door."""
        return self.folder / "internal_key"

    @property
    def configuration_file(self) -> Path:
        """The configuration of supervisor."""
        return self.folder / "supervisord.conf"

    def log_file(self, program: str) -> Path:
        """Log of a program."""
        return self.folder / f"{program}.log"


def configuration(layout: Layout, workers: Mapping[str, Worker]) -> str:
    """The whole configuration.

    Args:
        layout: Addresses and files.
        workers: The workers by program name.
    """
    programs = [
        _program(layout, "controller", controller_command(layout), priority=CONTROLLER_PRIORITY),
        _program(layout, "api", api_command(layout), priority=API_PRIORITY),
        _program(layout, "door", door_command(layout), priority=DOOR_PRIORITY),
        _program(layout, "registrar", registrar_command(layout), priority=REGISTRAR_PRIORITY),
        *(_worker_program(layout, name, worker) for name, worker in processes(workers).items()),
    ]
    return _head(layout) + "\n".join(programs)


def controller_command(layout: Layout) -> list[str]:
    """FastChat's controller."""
    return [layout.python, "-m", "fastchat.serve.controller", *_listen(LOOPBACK, layout.controller_port)]


def api_command(layout: Layout) -> list[str]:
    """FastChat's OpenAI-style API."""
    return [
        layout.python,
        str(layout.scripts / "fastchat_api_compat.py"),
        layout.api_socket,
        *("--controller-address", layout.controller_url),
    ]


def door_command(layout: Layout) -> list[str]:
    """The front door."""
    return [
        layout.python,
        str(layout.scripts / "front_door.py"),
        *(str(layout.folder), layout.api_socket, layout.bind, str(layout.api_port)),
    ]


def registrar_command(layout: Layout) -> list[str]:
    """The registrar, which registers workers with the controller."""
    return [
        layout.python,
        str(layout.scripts / "registrar.py"),
        str(layout.folder),
        layout.controller_url,
        # One of before adapters would register only one of the workers at an address.
        str(registrar.VERSION),
    ]


def worker_command(layout: Layout, program: str, worker: Worker) -> list[str]:
    """The model worker of the worker's engine.

    An engine is a command that serves a model with the HTTP interface of FastChat's model worker:
    `/worker_generate`, `/worker_generate_stream`, `/worker_get_status`, `/worker_get_conv_template`,
    `/count_token` and `/model_details`. It does not register itself: the registrar decides on its names.
    With `--adapters` it serves its base model's workers of that folder, each under its program's name.
    """
    return [layout.python, *_ENGINES[worker.engine](layout, program, worker)]


def _fastchat_worker(layout: Layout, program: str, worker: Worker) -> list[str]:
    """FastChat's model worker.

    A worker that an older version of the code started keeps its address, and so its command: with another one
    supervisor would restart it. It uses no controller's address, but must be given one.
    """
    return [
        *("-m", "fastchat.serve.model_worker"),
        *("--model-path", worker.model),
        *("--model-names", program),
        "--no-register",
        *_listen(worker.bind, worker.port),
        *("--worker-address", worker.url),
        *("--controller-address", f"http://{worker.bind}:{layout.controller_port}"),
        *("--limit-worker-concurrency", str(MAX_REQUESTS)),
        *("--dtype", worker.dtype),
        *("--device", worker.device),
        *_gpu_options(worker),
    ]


def _batched_worker(layout: Layout, program: str, worker: Worker) -> list[str]:
    return [
        str(layout.scripts / "batched_worker.py"),
        *("--model-path", worker.base or worker.model),
        *("--model-names", program),
        *_listen(worker.bind, worker.port),
        *("--limit-worker-concurrency", str(MAX_REQUESTS)),
        *("--dtype", worker.dtype),
        *("--device", worker.device),
        *_gpu_options(worker),
        *(["--cache-gib", f"{worker.cache_gib:g}"] if worker.cache_gib else []),
        *(["--deterministic"] if worker.deterministic else []),
        *_adapter_options(layout, worker),
    ]


def _vllm_worker(layout: Layout, program: str, worker: Worker) -> list[str]:
    return [
        str(layout.scripts / "vllm_worker.py"),
        *("--model-path", worker.base or worker.model),
        *("--model-names", program),
        *_listen(worker.bind, worker.port),
        *("--limit-worker-concurrency", str(MAX_REQUESTS)),
        *("--dtype", worker.dtype),
        *("--device", worker.device),
        *_gpu_options(worker),
        *(["--cache-gib", f"{worker.cache_gib:g}"] if worker.cache_gib else []),
        *_adapter_options(layout, worker),
        *(["--max-lora-rank", str(worker.lora_rank)] if worker.lora_rank else []),
    ]


_ENGINES: dict[Engine, Callable[[Layout, str, Worker], list[str]]] = {
    "fastchat": _fastchat_worker,
    "batched": _batched_worker,
    "vllm": _vllm_worker,
}


def _gpu_options(worker: Worker) -> list[str]:
    """Options for a model on several GPUs.

    One GPU is FastChat's default. Naming it would change the command of a worker that an older version of the
    code started, and restart it.
    """
    memory = ["--max-gpu-memory", worker.max_gpu_memory] if worker.max_gpu_memory else []
    return [*(["--num-gpus", str(worker.num_gpus)] if worker.num_gpus > 1 else []), *memory]


def _adapter_options(layout: Layout, worker: Worker) -> list[str]:
    return ["--adapters", str(layout.folder / "workers")] if worker.process else []


def _listen(bind: str, port: int) -> list[str]:
    return ["--host", bind, "--port", str(port)]


def _worker_program(layout: Layout, name: str, worker: Worker) -> str:
    options = {"environment": f'OMP_NUM_THREADS="{worker.threads}"'} if worker.threads else {}
    command = worker_command(layout, name, worker)
    return _program(layout, name, command, priority=WORKER_PRIORITY, **options)


def _program(layout: Layout, name: str, command: list[str], **options: str) -> str:
    """One program's section. supervisor expands %, so each one is doubled."""
    settings = {
        "command": " ".join(command),
        **_PROGRAM_OPTIONS,
        "stdout_logfile": str(layout.log_file(name)),
        **options,
    }
    return f"[program:{name}]\n" + "".join(f"{k}={v.replace('%', '%%')}\n" for k, v in settings.items())


def _head(layout: Layout) -> str:
    folder = layout.folder
    return f"""\
[supervisord]
nodaemon=false
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
childlogdir={folder}
strip_ansi=true
[unix_http_server]
file={layout.socket}
chmod=0700
[supervisorctl]
serverurl=unix://{layout.socket}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
