"""`serving.py`: the model servers of a host."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from pydantic import Field

from sqltune.node_contracts.script import NodeModel, NodeScript
from sqltune.node_contracts.trial import TrialReport, TrialTerms

Engine = Literal["fastchat", "batched", "vllm"]
"""What computes the answers of a served model.

fastchat: FastChat's own worker, one answer at a time. batched: `batched_worker.py`, many at once. vllm: vLLM
in an environment of its own, behind `vllm_worker.py`.
"""
Adapters = Literal["merged", "unmerged"]
"""Whether a served model is whole, or an adapter beside its base model."""
BATCHED_VERSION = 1
"""Version of the batched engine's answers: a change after which an answer may be another one raises it."""
VLLM_VERSION = "0.32.0"
"""The version of vLLM that serves; `include/node/requirements-vllm.txt` installs it."""
ENGINE_VERSIONS: Mapping[Engine, int | str] = MappingProxyType(
    {"fastchat": 0, "batched": BATCHED_VERSION, "vllm": VLLM_VERSION}
)
"""Version of each engine's answers; FastChat's is the host's installed one."""


def engine_label(
    engine: Engine,
    dtype: str,
    *,
    deterministic: bool,
    unmerged: bool = False,
    version: int | str | None = None,
) -> str:
    """What an answer depends on beside the model, the prompt and the decoding.

    Args:
        engine: The engine.
        dtype: Data type of the served weights.
        deterministic: Whether the batched engine computes one answer at a time.
        unmerged: Whether an adapter is computed beside its base model.
        version: Of the engine's answers; None: the one that is served now.
    """
    if engine == "fastchat":
        return f"fastchat {dtype}"
    number = ENGINE_VERSIONS[engine] if version is None else version
    changes = {" deterministic": deterministic, " unmerged": unmerged}
    return f"{engine} {number} {dtype}" + "".join(word for word, is_so in changes.items() if is_so)


class RequestLimits(NodeModel):
    """What requests to the served models may use: `serving.limits` of a cluster file."""

    requests: int = Field(512, ge=1, description="Requests answered at the same time, of all keys.")
    requests_per_key: int = Field(256, ge=1, description="Requests answered at the same time, of one key.")
    body_kib: int = Field(1024, ge=1, description="Longest body of a request, in KiB.")
    seconds: float = Field(600, gt=0, description="Seconds that a request may take, its answer included.")


class ServingSettings(NodeModel):
    """Where the servers listen, how a model is loaded, and what the front door lets in."""

    folder: str = Field(description="Folder of supervisor's configuration, logs and worker files.")
    bind: str = Field(description="Address that the front door listens on; the other servers use loopback.")
    controller_port: int = Field(description="TCP port of FastChat's controller.")
    api_port: int = Field(description="TCP port of the front door, which is the OpenAI-style API.")
    worker_ports: tuple[int, int] = Field(description="First and last TCP port of model workers.")
    public_name: str = Field("text2sql", description="Served name whose worker makes the host healthy.")
    ready_timeout: float = Field(description="Seconds until a model must have answered a prompt.")
    drain_timeout: float = Field(description="Seconds that requests of a replaced model may still take.")
    dtype: str = Field(description="Data type of the served weights, such as bfloat16.")
    device: Literal["cpu", "cuda"] = Field(description="Device of the model workers; ROCm is cuda to torch.")
    threads: int = Field(0, ge=0, description="OMP_NUM_THREADS of a worker; 0 leaves it unset.")
    num_gpus: int = Field(1, ge=1, description="GPUs that one worker spreads its model over.")
    max_gpu_memory: str | None = Field(
        None, description="Memory on each of several GPUs, such as 15GiB; None leaves it to FastChat."
    )
    engine: Engine = Field("batched", description="What computes the answers.")
    deterministic: bool = Field(
        False, description="Whether the batched engine computes one answer at a time."
    )
    cache_gib: float | None = Field(
        None, description="Memory for keys and values of batched and vllm, in GiB; None: by the device."
    )
    base_model: str = Field(
        "",
        description="Folder of the base model, ~ is the home on the host: what is served are its adapters, "
        "unmerged, and itself. Empty: whole models are served.",
    )
    base_model_hash: str = Field(
        "", description="Expected hash of the base model's files; empty: not compared."
    )
    limits: RequestLimits = Field(RequestLimits(), description="What requests may use.")
    log_prompts: bool = Field(False, description="Whether the access log holds prompts.")
    requires_key: bool = Field(
        True,
        description="Whether nothing is served without an API key. Without one in its environment the script "
        "keeps the keys that the host has, and starts no model.",
    )

    @property
    def engine_label(self) -> str:
        """What the answers depend on."""
        return engine_label(
            self.engine,
            self.dtype,
            deterministic=self.deterministic,
            unmerged=bool(self.base_model),
        )


class ServingRequest(NodeModel):
    """What to do with the servers."""

    action: Literal["up", "down", "switch", "trial", "end_trial", "status"] = Field(
        description="up: serve one more model. down: stop serving a model; the last one takes controller and "
        "API with it. switch: serve another model under a name that may be in use. trial: try another model "
        "beside the one of that name. end_trial: end that, and stop the other model once it has "
        "answered what it began. status: report only."
    )
    settings: ServingSettings
    name: str = Field("", description="Name that the model is served under; not for end_trial.")
    model: str = Field(
        "",
        description="Folder of the model, for up, switch and trial, or of the adapter where "
        "settings.base_model is set; ~ is the home there.",
    )
    version: int | None = Field(
        None, description="Number of the model's version, for switch and trial; None: not registered."
    )
    run: str = Field("", description="The run that trained the model, for switch and trial.")
    trial: TrialTerms | None = Field(None, description="What a trial is to be, for trial.")
    trial_id: str = Field(
        "", description="The only trial that end_trial ends, by its id; empty: whichever there is."
    )


class ServingResponse(NodeModel):
    """What is served after the request."""

    serving: dict[str, str] = Field(description="Served name to the folder of its model or adapter.")
    engines: dict[str, str] = Field(
        default={}, description="Served name to what its answers depend on (`engine_label`)."
    )
    workers: dict[str, str] = Field(
        default={}, description="Served name to the worker that answers to it, as `X-Model-Worker` names it."
    )
    running: bool = Field(description="Whether supervisor runs.")
    api: str = Field(description="Base address of the OpenAI-style API.")
    ready_after: float | None = Field(
        None, description="Seconds until the model answered, for up, switch and trial."
    )
    trial: TrialReport | None = Field(None, description="The trial of a candidate; None: there is none.")
    replaced: list[str] = Field(default=[], description="Workers that switch replaced.")
    drained_after: float | None = Field(
        None, description="Seconds until the replaced model had answered its last request, for switch."
    )


SERVING = NodeScript("serving.py", ServingRequest, ServingResponse)
