"""A cluster: the hosts, what they share, and where the model is served."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from sqltune.config.base import Name
from sqltune.config.trial import Trial
from sqltune.environment import secret
from sqltune.errors import ConfigError
from sqltune.node_contracts.api_keys import parse_api_keys
from sqltune.node_contracts.serving import Adapters, Engine, RequestLimits
from ssh_gang.model import Accelerator, EnvName, GangHost, HostPath, Limits, Model


class Host(GangHost):
    """One host of a cluster."""

    processes: int = Field(ge=1, le=64, description="Ranks on this host: one per GPU, or 1 on CPU.")


class Serving(Model):
    """Where and how the model is served, behind a front door."""

    host: Name = Field(description="The host of the cluster that serves.")
    bind: str = Field(
        "127.0.0.1",
        pattern=r"^[A-Za-z0-9.:-]+$",
        description="Address that the front door listens on; Airflow's workers must reach it. What is "
        "behind it listens on loopback.",
    )
    controller_port: int = Field(
        21001, ge=1, le=65535, description="Port of FastChat's controller, on loopback."
    )
    worker_ports: tuple[int, int] = Field(
        (21002, 21031), description="First and last port for model workers, on loopback."
    )
    api_port: int = Field(8000, ge=1, le=65535, description="Port of the front door, the OpenAI-style API.")
    model_name: Name = Field("text2sql", description="Public name of the champion.")
    engine: Engine = Field(
        "batched",
        description="What computes the answers. batched: many at once, for Llama and Qwen2. fastchat: "
        "FastChat's own worker, one at a time, for any model. vllm: many at once, on CUDA GPUs of compute "
        "capability 7.5 or newer, by vLLM in an environment of its own (bootstrap.sh --vllm). A change takes "
        "effect with the next promotion.",
    )
    adapters: Adapters = Field(
        "merged",
        description="merged: each served model is loaded whole, its adapter merged into it; two of them are "
        "in memory while a candidate is evaluated or promoted. unmerged: the base model is loaded once, and "
        "champion and candidate are adapters beside it; for GPUs that cannot hold two models. "
        "Needs engine batched or vllm. A change takes effect with the next promotion.",
    )
    deterministic: bool = Field(
        False,
        description="On: the batched engine computes one answer at a time, so that none depends on what else "
        "is being answered. FastChat's worker always does. Refused with vllm, which computes many at once.",
    )
    cache_gib: float | None = Field(
        None,
        gt=0,
        description="Memory for keys and values of batched and vllm on all GPUs together, in GiB; requests "
        "beyond it wait. Empty: 70 % of what is free on the GPUs when it is taken, 2 on CPU; with vllm 70 % "
        "of what was free before, weights and all. The batched engine gives it back after 10 s without a "
        "request, for a training on the same GPUs. A change takes effect with the next promotion. FastChat's "
        "worker has no such bound.",
    )
    api_key_env: EnvName | Literal[""] | None = Field(
        None,
        description="Variable in Airflow's environment that holds the API key, or several as NAME:KEY, "
        "divided by commas or line ends; the evaluation uses the first one. While that variable is empty, "
        "nothing is served. No variable: serve everybody, without a key.",
    )
    limits: RequestLimits = Field(RequestLimits(), description="What requests to the model may use.")
    log_prompts: bool = Field(
        False, description="Whether the access log on the host holds the prompts; they may name people."
    )
    num_gpus: int = Field(
        1,
        ge=1,
        le=64,
        description="GPUs that a model worker spreads its model over (FastChat's --num-gpus). With vllm each "
        "has a part of every layer (its tensor parallel size): a divisor of the model's attention heads.",
    )
    max_gpu_memory: str | None = Field(
        None,
        pattern=r"^[1-9][0-9]*(MiB|GiB)$",
        description="Memory that a model worker may use on each of its GPUs, such as 15GiB (FastChat's "
        "--max-gpu-memory). Needs num_gpus above 1. Empty: 85 % of what is free. Refused with vllm, which "
        "divides a model evenly: cache_gib bounds the rest.",
    )
    trial: Trial = Field(Trial(), description="What a candidate must show before it is promoted.")
    threads: int = Field(0, ge=0, description="OMP_NUM_THREADS of a model worker; 0 leaves it unset.")
    drain_timeout: float = Field(
        120,
        ge=0,
        description="Seconds that open requests may take to a replaced model, or to a candidate whose trial "
        "ends.",
    )
    ready_timeout: float = Field(
        600, gt=0, description="Seconds within which a model must answer its first prompt."
    )

    @field_validator("bind")
    @classmethod
    def _one_address(cls, bind: str) -> str:
        # The servers register with each other, and Airflow reaches them, under this address.
        if bind in ("0.0.0.0", "::"):
            raise ValueError(
                "every address of the host cannot be asked for answers: name the one that Airflow and your "
                "users reach, or 127.0.0.1"
            )
        return bind

    @property
    def is_unmerged(self) -> bool:
        """Whether adapters are served beside their base model."""
        return self.adapters == "unmerged"

    @property
    def url(self) -> str:
        """Base address of the OpenAI-style API."""
        return f"http://{self.bind}:{self.api_port}/v1"

    @property
    def api_keys(self) -> dict[str, str]:
        """Keys of the API by name, from this process's environment; none where it is served without one.

        Raises:
            ConfigError: There is no key where there must be one, the text is no list of keys, or the command
                that prints it fails.
        """
        if not (variable := self.api_key_env):
            return {}
        try:
            keys = parse_api_keys(secret(variable))
        except ValueError as e:
            raise ConfigError([f"cluster.serving.api_key_env: {variable}: {e}"]) from None
        if not keys:
            raise ConfigError(
                [
                    f"cluster.serving.api_key_env: {variable} is not set: set it in Airflow's environment, "
                    "or remove api_key_env from the cluster file to serve without a key"
                ]
            )
        return keys

    @property
    def api_key(self) -> str | None:
        """The first key of the API, with which Airflow's own requests come; None where there is none.

        Raises:
            ConfigError: As for `api_keys`.
        """
        return next(iter(self.api_keys.values()), None)


class Keep(Model):
    """What stays on the hosts after a run, beside the models of the champion and of its predecessor."""

    merged_models: int = Field(5, ge=1, description="Newest versions whose merged model stays.")
    checkpoints: int = Field(
        3, ge=1, description="Newest runs whose checkpoints stay, so that their training can resume."
    )


class Cluster(Model):
    """The hosts and what they have in common: a file in `include/configs/clusters`."""

    description: str = Field("", description="One line for the form and the record.")
    hosts: list[Host] = Field(min_length=1, description="The hosts; the first one is the master.")
    work_dir: HostPath = Field(
        description="Folder on each host for data, runs and models, used by this Airflow only; ~ is the "
        "home directory there."
    )
    node_env: HostPath = Field(
        description="Virtual environment on each host, made by include/node/bootstrap.sh."
    )
    interface: Name = Field(
        description="Network interface between the hosts (NCCL_SOCKET_IFNAME, GLOO_SOCKET_IFNAME)."
    )
    backend: Literal["nccl", "gloo"] = Field(
        "nccl", description="nccl for GPUs (RCCL under ROCm), gloo for CPU."
    )
    accelerator: Accelerator = Field("cuda", description="Which GPUs the hosts have; cpu: none.")
    master_port: int = Field(12345, ge=1024, le=65535, description="Port of the rendezvous on the master.")
    shared_storage: bool = Field(False, description="Whether work_dir is the same folder on all hosts.")
    min_free_disk_gb: float = Field(20, ge=0, description="Free space required under work_dir, in GiB.")
    alert_free_disk_gb: float | None = Field(
        None,
        ge=0,
        description="Free space under work_dir below which an alert is sent, in GiB; 0: none. Empty: twice "
        "min_free_disk_gb, so that it comes before a run is refused.",
    )
    min_free_memory_gb: float = Field(16, ge=0, description="Free memory required, in GiB.")
    env: dict[EnvName, str] = Field(
        default_factory=dict, description="Environment variables of everything that runs on the hosts."
    )
    hub_endpoint: str = Field(
        "https://huggingface.co",
        description="Address of the dataset hub, for Airflow's workers and the hosts (HF_ENDPOINT).",
    )
    serving: Serving = Field(description="Where and how the model is served.")
    limits: Limits = Field(Limits(), description="Time limits of jobs on the hosts.")
    max_log_gib: float = Field(
        1,
        gt=0,
        le=1024,
        description="Output that is recorded of each host in each try of a job, in GiB; what follows is "
        "counted, and not kept.",
    )
    keep: Keep = Field(Keep(), description="What stays on the hosts after a run.")
    gpu_memory_gib: float | None = Field(
        None,
        gt=0,
        description="Memory of the smallest GPU, in GiB; a plan that cannot fit it is refused. Empty: as "
        "measured in an earlier run, and unknown before the first one.",
    )
    gpu_hour_price: float | None = Field(
        None, ge=0, description="Price of one GPU for an hour, in the currency that the page is to show."
    )

    @property
    def master(self) -> Host:
        """The host of rank 0, which the others connect to."""
        return self.hosts[0]

    @property
    def storage_hosts(self) -> list[Host]:
        """One host for each `work_dir`: every host, or only the master where storage is shared."""
        return self.hosts[:1] if self.shared_storage else self.hosts

    @property
    def low_disk_gb(self) -> float:
        """Free space under `work_dir` below which an alert is sent, in GiB."""
        return 2 * self.min_free_disk_gb if self.alert_free_disk_gb is None else self.alert_free_disk_gb

    @property
    def serving_host(self) -> Host:
        """The host that serves the model."""
        return self.host(self.serving.host)

    @property
    def world_size(self) -> int:
        """Ranks on all hosts together."""
        return sum(host.processes for host in self.hosts)

    def host(self, name: str) -> Host:
        """The host with this name.

        Raises:
            KeyError: The cluster has no such host.
        """
        return {h.name: h for h in self.hosts}[name]

    def host_env(self) -> dict[str, str]:
        """Every environment variable that the chain sets for a process on a host."""
        return {
            "NCCL_SOCKET_IFNAME": self.interface,
            "GLOO_SOCKET_IFNAME": self.interface,
            "HF_ENDPOINT": self.hub_endpoint,
            # bootstrap.sh builds DeepSpeed's helper here. Elsewhere each home directory would build it again,
            # in a minute and a half.
            "TORCH_EXTENSIONS_DIR": f"{self.node_env}/torch_extensions",
            "PYTHONUNBUFFERED": "1",
            "TOKENIZERS_PARALLELISM": "false",
        } | self.env
