"""Model workers: one file each in `workers/`, which `registrar.py` reads too."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sqltune.node_contracts.serving import Engine, ServingSettings, engine_label


class Worker(BaseModel):
    """A model worker: how it was started, and the names it answers to.

    What it was started with stays as it is for as long as it runs. Fields of a newer version of the code have
    defaults, so that files of an older one can be read.
    """

    model_config = ConfigDict(frozen=True)

    names: list[str] = Field(default=[], description="Served names; none while the worker is drained.")
    model: str = Field(description="Folder of the model, or of the adapter.")
    port: int = Field(description="TCP port that the worker listens on.")
    bind: str = Field("", description="Address that it listens on; empty: as an older version started it.")
    version: int | None = Field(None, description="Number of the model's version; None: not registered.")
    run: str = Field("", description="The run that trained the model; empty: not registered.")
    dtype: str = Field("float16", description="Data type of the weights.")
    device: str = Field("cuda", description="Device: cpu or cuda.")
    threads: int = Field(0, description="OMP_NUM_THREADS; 0 leaves it unset.")
    num_gpus: int = Field(1, description="GPUs that the model is spread over.")
    max_gpu_memory: str | None = Field(None, description="Memory on each of several GPUs, such as 15GiB.")

    engine: Engine = Field("fastchat", description="What computes the answers.")
    engine_version: int | str = Field(0, description="Version of the engine's answers.")
    deterministic: bool = Field(False, description="Whether the batched engine computes one at a time.")
    cache_gib: float | None = Field(None, description="Memory for keys of batched and vllm, in GiB.")

    base: str = Field("", description="Folder of the base model that has adapters; empty: a whole model.")
    process: str = Field(
        "", description="Program that serves a base model and all its adapters; empty: the worker's own."
    )
    lora_rank: int = Field(0, description="Largest rank of an adapter that vLLM takes; 0: none.")

    @model_validator(mode="before")
    @classmethod
    def _read_first_version(cls, content: Any) -> Any:
        """Files of the first version have one `name` in place of `names`."""
        if isinstance(content, dict) and "name" in content:
            return {"names": [content["name"]]} | content
        return content

    @property
    def engine_label(self) -> str:
        """What its answers depend on."""
        return engine_label(
            self.engine,
            self.dtype,
            deterministic=self.deterministic,
            unmerged=bool(self.base),
            version=self.engine_version,
        )

    @property
    def url(self) -> str:
        """Where the worker listens."""
        return f"http://{self.bind}:{self.port}"


def program_name(name: str, model: str, settings: ServingSettings) -> str:
    """Name of a worker's program in supervisor: the served name, and a hash of the model's folder.

    The same model on another engine, or loaded otherwise, is another program, so that a switch can replace
    one by the other. FastChat's keep the names that they had when it was the only engine.
    """
    engine = "" if settings.engine == "fastchat" else f" {settings.engine_label}{_loading(settings)}"
    return f"worker-{name}-{hashlib.sha256(f'{model}{engine}'.encode()).hexdigest()[:8]}"


def process_name(base: str, lora_rank: int, settings: ServingSettings) -> str:
    """Name of the program that serves a base model and its adapters, for all that is loaded alike.

    Args:
        base: Folder of the base model.
        lora_rank: Largest rank of an adapter that vLLM takes; 0: none, or another engine.
        settings: How it is loaded.
    """
    rank = f" rank {lora_rank}" if lora_rank else ""
    text = f"{base} {settings.engine_label}{_loading(settings)}{rank}"
    return f"base-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def processes(workers: Mapping[str, Worker]) -> dict[str, Worker]:
    """The programs that run, each with a worker that it serves; workers of one base model share one."""
    return {worker.process or program: worker for program, worker in workers.items()}


def _loading(settings: ServingSettings) -> str:
    """How a worker loads its model; nothing for defaults, as names from before are without."""
    fields = {"num_gpus", "max_gpu_memory", "cache_gib"}
    changes = settings.model_dump(include=fields, exclude_defaults=True)
    return "".join(f" {field}={value}" for field, value in changes.items())


class WorkerFiles:
    """The workers of a host by program name.

    Args:
        folder: Folder of the model servers.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "workers"

    def all(self) -> dict[str, Worker]:
        """All workers."""
        return {
            p.stem: Worker.model_validate_json(p.read_text()) for p in sorted(self._folder.glob("*.json"))
        }

    def put(self, program: str, worker: Worker) -> None:
        """Write a worker's file atomically: the registrar may read it at any time."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{program}.json"
        partial = path.with_suffix(".partial")
        partial.write_text(worker.model_dump_json())
        partial.rename(path)

    def remove(self, program: str) -> None:
        """Remove a worker's file."""
        (self._folder / f"{program}.json").unlink(missing_ok=True)
