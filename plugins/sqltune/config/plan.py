"""The run plan: the run spec with everything pinned, as every task receives it."""

from __future__ import annotations

from pydantic import Field

from sqltune.config.base import digest
from sqltune.config.cluster import Cluster
from sqltune.config.gate_rules import GateRules
from sqltune.config.recipe import Recipe, Training
from sqltune.config.spec import Promote
from sqltune.prompt import TEMPLATE_HASH
from ssh_gang.model import Model, slug


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
        """Folder of the pinned commit on each host: its files, and what is made from them."""
        return f"{self.cluster.work_dir}/data/{slug(self.dataset_repo)}/{self.dataset_commit}"

    @property
    def split_dir(self) -> str:
        """Folder of the prepared rows on each host. The prompt is part of a row: another template, another folder."""
        return f"{self.data_dir}/split-{self.recipe.held_out_percent}-{TEMPLATE_HASH}"

    @property
    def train_path(self) -> str:
        """The training rows on each host."""
        return f"{self.split_dir}/train.jsonl"
