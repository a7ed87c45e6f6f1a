"""The run spec: what a person fills in on the trigger form."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sqltune.config.base import ModelPath, Name, RepoId, Revision, SuiteNames
from sqltune.config.recipe import DeepSpeed
from ssh_gang.model import Model

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
