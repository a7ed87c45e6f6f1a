"""The run plan: the run spec with everything pinned, as every task receives it."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from sqltune.config.base import digest
from sqltune.config.cluster import Cluster
from sqltune.config.gate_rules import GateRules
from sqltune.config.recipe import DeepSpeed, Recipe, StartFrom, Training
from sqltune.config.spec import Promote
from sqltune.sql.prompt import TEMPLATE_HASH
from ssh_gang.model import Model, slug


class Champion(Model):
    """The model that is served now."""

    version: int = Field(description="Number of its version.")
    merged_path: str = Field(description="Folder of the merged model on the serving host.")
    model_hash: str = Field(description="Hash of the model's files.")


class StartAdapter(Model):
    """The adapter that a training goes on from."""

    version: int = Field(description="Number of its version.")
    host: str = Field(description="The host that holds it.")
    path: str = Field(description="Its folder there.")
    digest: str = Field(description="Hash of its files.")


class Site(Model):
    """A cluster, and the version of the scripts on its hosts."""

    cluster_name: str = Field(description="Name of the cluster's file, without .yaml.")
    cluster: Cluster = Field(description="The cluster, as its file was when the run began.")
    code_version: str = Field(description="Hash of the scripts that are copied to the hosts.")

    @property
    def code_dir(self) -> str:
        """Folder of the scripts on each host."""
        return f"{self.cluster.work_dir}/code/{self.code_version}"


class RunPlan(Site):
    """What one run does, with everything pinned."""

    @model_validator(mode="before")
    @classmethod
    def _read_plan_without_engine(cls, values: Any) -> Any:
        """A plan of before there were engines goes on with FastChat's, which answered for it so far."""
        match values:
            case {"cluster": {"serving": {} as serving}} if "engine" not in serving:
                cluster = values["cluster"] | {"serving": serving | {"engine": "fastchat"}}
                return values | {"cluster": cluster}
        return values

    run_id: str = Field(description="Id of the Airflow run.")
    recipe_name: str = Field(description="Name of the recipe's file, without .yaml.")
    recipe: Recipe = Field(description="The recipe, as its file was when the run began.")
    training: Training = Field(description="The recipe's training settings, overridden by the form's.")
    strategies: list[DeepSpeed] = Field(
        [],
        description="DeepSpeed strategies that the run measures, to train with the fastest of them; none: it "
        "trains with training.deepspeed.",
    )
    dataset_repo: str = Field(description="Dataset repository on the hub, owner/name.")
    dataset_revision: str = Field(description="The revision as the form names it; '' for the newest.")
    dataset_commit: str = Field(description="The commit that dataset_revision was pinned to.")
    dataset_date: str = Field(description="Date of the commit, ISO 8601.")
    previous_commit: str | None = Field(
        None,
        description="The commit that the data check compares this one with: of those trained and passed by "
        "the gate on this cluster, the newest that is older; None: there is none.",
    )
    accept_data: bool = Field(
        False, description="Whether to train although the data check finds limits exceeded."
    )
    base_model: str = Field(description="Folder of the base model on every host.")
    start_from: StartFrom = Field("base", description="Whether to go on from the champion's adapter.")
    start: StartAdapter | None = Field(
        None, description="The adapter that training goes on from; None: it begins with a new one."
    )
    eval_questions: int = Field(description="Held-out questions that both models answer.")
    suites: list[str] = Field(description="Suites beside the held-out questions.")
    gate: GateRules = Field(description="The gate's rules for this run.")
    reference_model: str | None = Field(
        None, description="The hosted model that the form names; None: the Connection's."
    )
    promote: Promote = Field(description="Who decides whether a passed model is served.")
    force: bool = Field(description="Whether to train although nothing is new.")
    champion: Champion | None = Field(description="The model served when the run began; None: none yet.")
    installation: str = Field(
        description=(
            "Id of this Airflow installation. It is part of every gang's name; the plan carries it so that "
            "gangs can be found and stopped while the records' database does not answer."
        )
    )

    @property
    def fingerprint(self) -> str:
        """Hash of everything that was asked for and decides the result of the training.

        Two plans with the same fingerprint train the same model, unless they go on from the champion: which
        version that is does not count. Each promotion would otherwise make the commit new that it came from.
        """
        decisive = self.model_dump(mode="json", include={"dataset_repo", "dataset_commit", "base_model"})
        # Where the fastest strategy is used, it does not matter which one that is.
        left_out = {"probe", "deepspeed"} if self.training.probe else {"probe"}
        decisive["training"] = self.training.model_dump(mode="json", exclude=left_out)
        # How a model is evaluated, what made the run start, and what stops it, do not change what is trained.
        decisive["recipe"] = self.recipe.model_dump(
            mode="json",
            exclude={
                "start_from": True,
                "description": True,
                "suites": True,
                "gate": True,
                "eval_questions": True,
                "base_model_repo": True,
                "data_limits": True,
                "revisions": True,
                "on_loss": True,
                "loss_jump": True,
                "training": left_out,
            },
        )
        decisive["hosts"] = [[h.name, h.processes] for h in self.cluster.hosts]
        if self.start_from != "base":
            decisive["start_from"] = self.start_from
        return digest(decisive)

    @property
    def checkpoint_fingerprint(self) -> str:
        """Hash of what decides a checkpoint: none is resumed from that another strategy or adapter began."""
        decisive = [
            *([self.training.deepspeed] if self.training.probe else []),
            *([self.start.digest] if self.start else []),
        ]
        return digest([self.fingerprint, *decisive]) if decisive else self.fingerprint

    def with_strategy(self, strategy: DeepSpeed) -> RunPlan:
        """The plan, trained with another DeepSpeed strategy."""
        training = self.training.model_copy(update={"deepspeed": strategy})
        return self.model_copy(update={"training": training})

    @property
    def is_as_recipe(self) -> bool:
        """Whether the form has changed nothing of what is trained."""
        recipe = self.recipe
        as_configured = self.with_strategy(recipe.training.deepspeed) if self.training.probe else self
        return (as_configured.training, self.base_model, self.start_from, self.dataset_repo) == (
            recipe.training,
            recipe.base_model,
            recipe.start_from,
            recipe.dataset_repo,
        )

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
        """Folder of the pinned commit on each host: its files, and what is made from them."""
        return self.data_dir_of(self.dataset_commit)

    def data_dir_of(self, commit: str) -> str:
        """Folder of any commit of the dataset on each host."""
        return f"{self.cluster.work_dir}/data/{slug(self.dataset_repo)}/{commit}"

    @property
    def split_dir(self) -> str:
        """Folder of the prepared rows on each host.

        A row holds the rendered prompt, so another prompt template has another folder.
        """
        return f"{self.data_dir}/split-{self.recipe.held_out_percent}-{TEMPLATE_HASH}"

    @property
    def train_path(self) -> str:
        """The training rows on each host."""
        return f"{self.split_dir}/train.jsonl"
