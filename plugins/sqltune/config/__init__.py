"""Configuration: what a person fills in (`RunSpec`), what a recipe and a cluster file hold, and the pinned `RunPlan` every task receives.

A setting is written once, here: its title, help and limits become the field of the trigger form, the key
of the YAML file and the entry in the run's record.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, StringConstraints, ValidationError

from sqltune.errors import ConfigError
from sqltune.prompt import STOP
from ssh_gang.model import Accelerator, EnvName, GangHost, HostPath, Limits, Model, slug

CONFIGS = Path(os.environ.get("SQLTUNE_CONFIGS", Path(__file__).resolve().parents[3] / "include" / "configs"))
"""Where clusters, recipes, xtuner configs and regression suites lie."""

NODE_FILES = Path(__file__).resolve().parents[3] / "include" / "node"
"""What is copied to the hosts."""

DeepSpeed = Literal["zero1", "zero2", "zero2_offload", "zero3", "zero3_offload"]

# Values that reach a command line are quoted wherever they are used; a value that needs quoting is still a mistake in a form.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Revision = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,127}$")]
RepoId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")]
ModelPath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_~/][A-Za-z0-9_.~/+@-]{0,255}$")]
SuiteNames = Annotated[
    str,
    StringConstraints(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*( *, *[A-Za-z0-9_][A-Za-z0-9_.-]*)*$", max_length=500
    ),
]
Promote = Literal["yes", "ask", "hold"]


class RunSpec(Model):
    """The trigger form. An empty field takes the recipe's value."""

    recipe: Name = Field(
        "lab_smollm2",
        title="Recipe",
        description="What is trained and how: a file in include/configs/recipes, without .yaml.",
    )
    cluster: Name = Field(
        "lab",
        title="Cluster",
        description="The hosts it is trained on: a file in include/configs/clusters, without .yaml.",
    )
    dataset_repo: RepoId | None = Field(
        None,
        title="Dataset repository",
        description="owner/name on the hub. Empty: the recipe's.",
        json_schema_extra={"section": "Data"},
    )
    dataset_revision: Revision | None = Field(
        None,
        title="Dataset revision",
        description="Branch, tag or commit. Empty: the newest commit of main as of the run's logical date.",
        json_schema_extra={"section": "Data"},
    )
    base_model: ModelPath | None = Field(
        None,
        title="Base model",
        description="Path of the base model on every host. Empty: the recipe's.",
        json_schema_extra={"section": "Training"},
    )
    max_steps: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        title="Max steps",
        description="Iterations to train for; wins over epochs. Empty: the recipe's.",
        json_schema_extra={"section": "Training"},
    )
    max_epochs: int | None = Field(
        None,
        ge=1,
        le=100,
        title="Max epochs",
        description="Passes over the training rows. Empty: the recipe's.",
        json_schema_extra={"section": "Training"},
    )
    learning_rate: float | None = Field(
        None,
        ge=1e-7,
        le=0.01,
        title="Learning rate",
        description="Peak learning rate of AdamW. Empty: the recipe's.",
        json_schema_extra={"section": "Training"},
    )
    lora_rank: int | None = Field(
        None,
        ge=1,
        le=512,
        title="LoRA rank",
        description="Rank r of the adapter. Empty: the recipe's.",
        json_schema_extra={"section": "Training"},
    )
    max_length: int | None = Field(
        None,
        ge=1,
        le=32768,
        title="Sequence length",
        description="Tokens per row; must hold the longest example. Empty: the recipe's.",
        json_schema_extra={"section": "Training"},
    )
    deepspeed: DeepSpeed | None = Field(
        None,
        title="DeepSpeed strategy",
        description="How optimizer state and weights are spread over the ranks. Empty: the recipe's.",
        json_schema_extra={"section": "Training"},
    )
    seed: int | None = Field(
        None,
        ge=0,
        le=2**31 - 1,
        title="Seed",
        description="Seed of the adapter's weights and of the order of the rows. Empty: the recipe's.",
        json_schema_extra={"section": "Training"},
    )
    eval_questions: int | None = Field(
        None,
        ge=10,
        le=10_000,
        title="Questions to judge by",
        description="Held-out questions asked before and after. Empty: the recipe's.",
        json_schema_extra={"section": "Verdict"},
    )
    suites: SuiteNames | None = Field(
        None,
        title="Further suites",
        description="Suites to judge by beside the held-out questions, divided by commas: files in include/configs/regression, or folders in SQLTUNE_SUITES. Empty: the recipe's.",
        json_schema_extra={"section": "Verdict"},
    )
    reference_model: Name | None = Field(
        None,
        title="Hosted reference",
        description="Name of the hosted model that answers the same questions beside; asked only where the Connection sqltune_glm is there. Empty: the Connection's.",
        json_schema_extra={"section": "Verdict"},
    )
    promote: Promote = Field(
        "yes",
        title="Promote",
        description="yes: serve the new model if the gate lets it through. ask: a person decides, with the table before them. hold: judge it, and serve on what is served.",
        json_schema_extra={"section": "Verdict"},
    )
    force: bool = Field(
        False,
        title="Train even if nothing is new",
        description="Off: a plan that was trained before ends the run early, green.",
        json_schema_extra={"section": "Verdict"},
    )


class Training(Model):
    """Part 1 of an xtuner config: what the chain writes into the copy that is trained with."""

    max_steps: int | None = Field(
        None, ge=1, description="Iterations (micro-batches per rank) to train for; None trains max_epochs."
    )
    max_epochs: int | None = Field(None, ge=1, description="Passes over the training rows.")
    learning_rate: float = Field(ge=1e-7, le=0.01, description="Peak learning rate of AdamW.")
    lora_rank: int = Field(ge=1, le=512, description="Rank r of the adapter.")
    max_length: int = Field(ge=1, description="Tokens per row; a row that is longer is cut.")
    batch_size: int = Field(ge=1, description="Rows per rank and micro-batch.")
    accumulative_counts: int = Field(1, ge=1, description="Micro-batches per optimizer step.")
    deepspeed: DeepSpeed = Field(description="DeepSpeed strategy, as in xtuner's deepspeed_<name>.json.")
    seed: int = Field(42, ge=0, description="Seed of the adapter's weights and of the order of the rows.")
    save_steps: int = Field(500, ge=1, description="Iterations between checkpoints.")
    save_total_limit: int = Field(2, ge=1, description="Checkpoints kept.")
    log_interval: int = Field(10, ge=1, description="Iterations between log lines.")


class Decoding(Model):
    """How a served model is asked when it is judged."""

    max_tokens: int = Field(128, ge=8, le=4096, description="Tokens an answer may have.")
    temperature: float = Field(0.0, ge=0, le=2, description="0 takes the likeliest token each time.")
    concurrency: int = Field(4, ge=1, le=256, description="Questions asked at the same time.")
    timeout: float = Field(120, gt=0, description="Seconds one answer may take.")
    stop: list[str] = Field(
        list(STOP), description="Texts at which an answer ends if the model goes on past it."
    )


class GateRules(Model):
    """When a new model may serve: `include/configs/gate.yaml`. Shares are of 1; a difference is the new model's share of right answers minus the old one's."""

    confidence: float = Field(gt=0.5, lt=1, description="Level of the interval around the difference.")
    margin: float = Field(
        ge=0, le=1, description="How much worse the new model may truly be, at the interval's lower end."
    )
    min_gain: float = Field(ge=-1, le=1, description="How much more it must answer right.")
    min_questions: int = Field(ge=1, description="Questions below which a comparison proves nothing.")
    floor: float = Field(ge=0, le=1, description="Share of right answers below which nothing serves.")
    max_invalid: float = Field(ge=0, le=1, description="Share of answers that may not run.")
    max_vacuous: float = Field(
        ge=0, le=1, description="Share of the right answers whose results may both be empty."
    )


class Recipe(Model):
    """What is trained and how: `include/configs/recipes/*.yaml`."""

    description: str = Field(description="One line for the form and the record.")
    xtuner_config: str = Field(pattern=r"^[\w-]+\.py$", description="File in include/configs/xtuner.")
    base_model: ModelPath = Field(description="Path of the base model on every host; ~ is the home there.")
    dataset_repo: RepoId = Field(description="Dataset on the hub.")
    dataset_files: list[str] = Field(
        ["*.jsonl", "*.json"],
        description="Patterns of the files to read, in order of preference; the first that matches any file is taken.",
    )
    held_out_percent: int = Field(
        10, ge=1, le=50, description="Share of the databases kept out of training, in percent."
    )
    eval_questions: int = Field(200, ge=10, description="Held-out questions asked before and after.")
    suites: SuiteNames | None = Field(
        None, description="Suites to judge by beside the held-out questions, divided by commas."
    )
    gate: dict[str, float] = Field(
        default_factory=dict, description="Rules of gate.yaml that are others for this recipe."
    )
    training: Training
    decoding: Decoding = Decoding()
    serving_dtype: Literal["float32", "float16", "bfloat16"] = Field(
        "float16", description="Type of the served weights."
    )


class Host(GangHost):
    """One machine of a cluster."""

    processes: int = Field(ge=1, le=64, description="Ranks on this host: its GPUs, or 1 on CPU.")


class Serving(Model):
    """Where the model is served with FastChat."""

    host: Name = Field(description="Which host of the cluster serves.")
    bind: str = Field(
        "127.0.0.1",
        pattern=r"^[A-Za-z0-9.:-]+$",
        description="Address the servers listen on; Airflow's workers must reach it.",
    )
    controller_port: int = Field(21001, ge=1, le=65535)
    worker_ports: tuple[int, int] = Field(
        (21002, 21031), description="First and last port for model workers."
    )
    api_port: int = Field(8000, ge=1, le=65535, description="Port of the OpenAI-style API.")
    model_name: Name = Field("text2sql", description="Public name of the champion.")
    api_key_env: EnvName | Literal[""] | None = Field(
        None,
        description="Variable of Airflow's environment that holds the API key; empty serves without one.",
    )
    threads: int = Field(0, ge=0, description="OMP_NUM_THREADS of a worker; 0 leaves it unset.")
    drain_timeout: float = Field(
        120, ge=0, description="Seconds that requests of a model that is replaced may still take."
    )
    ready_timeout: float = Field(
        600, gt=0, description="Seconds until a model must have answered its first prompt."
    )

    @property
    def url(self) -> str:
        """Base address of the OpenAI-style API."""
        return f"http://{self.bind}:{self.api_port}/v1"


class Keep(Model):
    """What stays on the hosts when a run has ended; the champion's model and the one's before it always do."""

    merged_models: int = Field(5, ge=1, description="Merged models of the newest versions.")
    checkpoints: int = Field(
        3, ge=1, description="Newest runs whose checkpoints stay, so that they can be gone on with."
    )


class Cluster(Model):
    """The hosts and what they have in common: `include/configs/clusters/*.yaml`."""

    description: str = Field("", description="One line for the form and the record.")
    hosts: list[Host] = Field(min_length=1, description="The first one is the master.")
    work_dir: HostPath = Field(
        description="Folder on each host for data, runs and models, of this Airflow alone; ~ is the home there."
    )
    node_env: HostPath = Field(
        description="Virtual environment on each host, from include/node/bootstrap.sh."
    )
    interface: Name = Field(description="Network interface between the hosts (NCCL_SOCKET_IFNAME).")
    backend: Literal["nccl", "gloo"] = Field(
        "nccl", description="nccl for GPUs (RCCL under ROCm), gloo for CPU."
    )
    accelerator: Accelerator = Field("cuda", description="What preflight looks for.")
    master_port: int = Field(12345, ge=1024, le=65535, description="Port of the rendezvous on the master.")
    shared_storage: bool = Field(False, description="work_dir is the same folder on all hosts.")
    min_free_disk_gb: float = Field(20, ge=0, description="Free space wanted under work_dir, in GiB.")
    min_free_memory_gb: float = Field(16, ge=0, description="Free memory wanted, in GiB.")
    env: dict[EnvName, str] = Field(
        default_factory=dict, description="Environment of everything that runs on the hosts."
    )
    hub_endpoint: str = Field(
        "https://huggingface.co", description="HF_ENDPOINT as Airflow's workers reach it."
    )
    serving: Serving
    limits: Limits = Limits()
    keep: Keep = Keep()

    @property
    def master(self) -> Host:
        return self.hosts[0]

    @property
    def world_size(self) -> int:
        return sum(host.processes for host in self.hosts)

    def host(self, name: str) -> Host:
        """The host of that name; KeyError where there is none."""
        return {h.name: h for h in self.hosts}[name]

    def host_env(self) -> dict[str, str]:
        """The whole environment a process on a host gets from us, the interface's two variables among it."""
        return {
            "NCCL_SOCKET_IFNAME": self.interface,
            "GLOO_SOCKET_IFNAME": self.interface,
            "HF_ENDPOINT": self.hub_endpoint,
            # Where bootstrap.sh built DeepSpeed's helper: else every home would build it again, in a minute and a half.
            "TORCH_EXTENSIONS_DIR": f"{self.node_env}/torch_extensions",
            "PYTHONUNBUFFERED": "1",
            "TOKENIZERS_PARALLELISM": "false",
        } | self.env


class Champion(Model):
    """The model that is served now."""

    version: int
    merged_path: str
    model_hash: str


class Site(Model):
    """A cluster, and what of ours lies on its hosts."""

    cluster_name: str
    cluster: Cluster
    code_version: str = Field(description="Hash of what is copied to the hosts.")

    @property
    def code_dir(self) -> str:
        return f"{self.cluster.work_dir}/code/{self.code_version}"


class RunPlan(Site):
    """What one run does, pinned: every task receives this, whole."""

    run_id: str
    recipe_name: str
    recipe: Recipe
    training: Training = Field(description="The recipe's, with the form's values on top.")
    dataset_repo: str
    dataset_revision: str = Field(description="As it was named, or '' for newest.")
    dataset_commit: str = Field(description="What dataset_revision was pinned to.")
    dataset_date: str = Field(description="The commit's date, ISO 8601.")
    base_model: str
    eval_questions: int
    suites: list[str] = Field(description="Suites beside the held-out questions.")
    gate: GateRules
    reference_model: str | None = None
    promote: Promote
    force: bool
    champion: Champion | None

    @property
    def fingerprint(self) -> str:
        """Names what is trained, and on what: two plans with the same fingerprint train the same model."""
        what = self.model_dump(
            mode="json", include={"dataset_repo", "dataset_commit", "base_model", "training"}
        )
        # What a recipe says of the judging does not change what is trained.
        what["recipe"] = self.recipe.model_dump(
            mode="json", exclude={"description", "suites", "gate", "eval_questions"}
        )
        what["hosts"] = [[h.name, h.processes] for h in self.cluster.hosts]
        return digest(what)

    @property
    def key(self) -> str:
        """The run's id as a folder name."""
        return slug(self.run_id)

    @property
    def run_dir(self) -> str:
        """The run's folder on each host: config, checkpoints, adapter, merged model."""
        return f"{self.cluster.work_dir}/runs/{self.key}"

    @property
    def data_dir(self) -> str:
        return f"{self.cluster.work_dir}/data/{slug(self.dataset_repo)}/{self.dataset_commit}"


def digest(value: Any) -> str:
    """A short stable hash of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]


_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def _expand(value: Any, where: str, mistakes: list[str]) -> Any:
    """Replace ${NAME} and ${NAME:-default} in every string of a YAML document, as docker-compose does."""
    if isinstance(value, dict):
        return {k: _expand(v, f"{where}.{k}", mistakes) for k, v in value.items()}
    if isinstance(value, list):
        return [_expand(v, f"{where}[{i}]", mistakes) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replaced(match: re.Match[str]) -> str:
        found = os.environ.get(match[1], match[2])
        if found is None:
            mistakes.append(
                f"{where}: ${{{match[1]}}} is not set: set it for Airflow, or write ${{{match[1]}:-default}}"
            )
            return match[0]
        return found

    return _VARIABLE.sub(replaced, value)


def describe(error: ValidationError, prefix: str = "") -> list[str]:
    """pydantic's mistakes as lines: the field, what was found, what was wanted."""
    lines = []
    for e in error.errors():
        field = ".".join([*filter(None, [prefix]), *(str(p) for p in e["loc"])])
        found = "" if e["type"] in ("missing", "extra_forbidden") else f"{e['input']!r} "
        wanted = {"missing": "is missing", "extra_forbidden": "is not a field here"}.get(
            e["type"], f"is not allowed: {e['msg'][0].lower()}{e['msg'][1:]}"
        )
        lines.append(f"{field}: {found}{wanted}")
    return lines


def names(kind: Literal["recipes", "clusters"]) -> list[str]:
    """The recipes or clusters there are."""
    return sorted(p.stem for p in (CONFIGS / kind).glob("*.yaml"))


def load_gate(recipe: Recipe, recipe_name: str) -> GateRules:
    """The gate's rules, with the recipe's own on top; `ConfigError` names every mistake in them."""
    path = CONFIGS / "gate.yaml"
    try:
        GateRules.model_validate(rules := yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except ValidationError as e:
        raise ConfigError(describe(e, path.name)) from e
    try:
        return GateRules.model_validate(rules | recipe.gate)
    except ValidationError as e:
        raise ConfigError(describe(e, f"recipes/{recipe_name}.yaml.gate")) from e


def load(kind: Literal["recipes", "clusters"], name: str) -> Recipe | Cluster:
    """Read one recipe or cluster file; `ConfigError` names every mistake in it."""
    field = kind.removesuffix("s")
    path = CONFIGS / kind / f"{name}.yaml"
    if name not in names(kind):
        raise ConfigError(
            [
                f"{field}: {name!r} is not there (there are: {', '.join(names(kind))}): choose one, or add {kind}/{name}.yaml"
            ]
        )
    mistakes: list[str] = []
    values = _expand(yaml.safe_load(path.read_text(encoding="utf-8")), f"{kind}/{name}.yaml", mistakes)
    if mistakes:
        raise ConfigError(mistakes)
    try:
        return (Recipe if kind == "recipes" else Cluster).model_validate(values)
    except ValidationError as e:
        raise ConfigError(describe(e, f"{kind}/{name}.yaml")) from e
