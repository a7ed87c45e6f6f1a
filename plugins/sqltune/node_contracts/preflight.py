"""`preflight.py`: facts about a host, and what prevents it from taking part in a run."""

from __future__ import annotations

import json
from typing import Literal

from pydantic import ConfigDict, Field

from sqltune.node_contracts.script import NodeModel, NodeScript


class PreflightRequest(NodeModel):
    """What a run expects of one host."""

    work_dir: str = Field(description="The cluster's work folder; ~ is the home on the host.")
    installation: str = Field(
        description="Id of the Airflow installation whose records describe that folder."
    )
    interface: str = Field(description="Network interface of the cluster.")
    accelerator: Literal["cuda", "rocm", "cpu"]
    processes: int = Field(ge=1, description="Ranks that train on this host, one on each GPU.")
    serving_gpus: int = Field(
        0, ge=0, description="GPUs that a model worker uses on this host; 0 where it does not serve."
    )
    vllm: str | None = Field(
        None, description="Version of vLLM that this host must have; None where it does not serve with it."
    )
    is_master: bool = Field(description="Whether rank 0 runs here and listens on `master_port`.")
    master_port: int = Field(description="TCP port of torchrun's rendezvous.")
    base_model: str = Field(description="Folder of the base model; ~ is the home on the host.")
    min_free_disk_gb: float = Field(description="Free space required under the work folder, in GiB.")
    min_free_memory_gb: float = Field(description="Available memory required, in GiB.")


class Architecture(NodeModel):
    """The shape of a Llama-like model, as its config.json names it."""

    # config.json has many more fields.
    model_config = ConfigDict(frozen=True, extra="ignore")

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int
    tie_word_embeddings: bool = False

    @classmethod
    def read(cls, config: str) -> Architecture | None:
        """Return the shape that a config.json describes; None for a model that is built otherwise."""
        try:
            values = json.loads(config)
            return cls.model_validate({"num_key_value_heads": values.get("num_attention_heads")} | values)
        except (ValueError, AttributeError):
            return None


class MeasuredHost(NodeModel):
    """Facts about a host."""

    hostname: str = Field(description="What the host calls itself.")
    python: str = Field(description="Version of Python in the node environment.")
    versions: dict[str, str | None] = Field(description="Versions of the packages that the chain uses.")
    cpus: int | None = Field(description="CPU cores.")
    gpus: list[str] = Field(description="One line for each GPU; empty on CPU hosts.")
    free_disk_gb: float = Field(description="Free space under the work folder, in GiB.")
    free_memory_gb: float = Field(description="Memory available without swapping, in GiB.")
    clock: float = Field(description="The host's clock, in seconds since the epoch.")
    proxy: dict[str, str] = Field(
        description="Proxy variables of the host's environment, without users' passwords."
    )
    address: str | None = Field(description="IPv4 address of the cluster's interface; None without one.")
    base_model_hash: str | None = Field(description="Hash of the base model's files; None without a model.")
    architecture: Architecture | None = Field(
        None, description="Shape of the base model; None without a model, or where it is not Llama's."
    )


CheckName = Literal[
    "work_dir",
    "packages",
    "disk",
    "memory",
    "interface",
    "master_port",
    "gpus",
    "serving_gpus",
    "gpu_processes",
    "base_model",
    "clock",
]
"""What is checked on a host."""


class HostCheck(NodeModel):
    """One check of a host: what was found, what is required, and what to do where that differs."""

    name: CheckName = Field(description="What was checked.")
    value: str = Field(description="What was found.")
    limit: str = Field("", description="What is required; empty where the problem says it.")
    problem: str | None = Field(None, description="What is wrong, with its remedy; None where nothing is.")


class PreflightResponse(NodeModel):
    """Facts of a host, and what every check made of them."""

    facts: MeasuredHost
    checks: list[HostCheck] = Field(description="Every check, also those that passed.")

    @property
    def problems(self) -> list[str]:
        """What is wrong, each problem with its remedy; empty on a good host."""
        return [check.problem for check in self.checks if check.problem]


PREFLIGHT = NodeScript("preflight.py", PreflightRequest, PreflightResponse)
