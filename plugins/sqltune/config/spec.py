"""The run spec: what a person fills in on the trigger form."""

from __future__ import annotations

from typing import Any, Literal

from annotated_types import Ge, Le
from pydantic import BaseModel, Field

from sqltune.config.base import ModelPath, Name, RepoId, Revision, SuiteNames
from sqltune.config.recipe import DeepSpeed, Recipe, Training
from ssh_gang.model import Model

Promote = Literal["yes", "ask", "hold"]
Section = Literal["Data", "Training", "Verdict"]


def overrides(model: type[BaseModel], name: str, title: str, section: Section) -> Any:
    """A form field that overrides a setting of the recipe; its description and range are the setting's.

    Args:
        model: `Recipe`, or a part of it.
        name: The setting in `model`.
        title: Heading of the field.
        section: Section of the form.
    """
    setting = model.model_fields[name]
    return Field(
        None,
        ge=next((limit.ge for limit in setting.metadata if isinstance(limit, Ge)), None),
        le=next((limit.le for limit in setting.metadata if isinstance(limit, Le)), None),
        title=title,
        description=f"{setting.description} Empty: the recipe's value.",
        json_schema_extra={"section": section},
    )


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
        description="The hosts to train on: a file in include/configs/clusters, without .yaml.",
    )
    dataset_repo: RepoId | None = overrides(Recipe, "dataset_repo", "Dataset repository", "Data")
    dataset_revision: Revision | None = Field(
        None,
        title="Dataset revision",
        description="Branch, tag or commit. Empty: the newest commit of main as of the run's logical date.",
        json_schema_extra={"section": "Data"},
    )
    base_model: ModelPath | None = overrides(Recipe, "base_model", "Base model", "Training")
    max_steps: int | None = overrides(Training, "max_steps", "Max steps", "Training")
    max_epochs: int | None = overrides(Training, "max_epochs", "Max epochs", "Training")
    learning_rate: float | None = overrides(Training, "learning_rate", "Learning rate", "Training")
    lora_rank: int | None = overrides(Training, "lora_rank", "LoRA rank", "Training")
    max_length: int | None = overrides(Training, "max_length", "Sequence length", "Training")
    deepspeed: DeepSpeed | None = overrides(Training, "deepspeed", "DeepSpeed strategy", "Training")
    seed: int | None = overrides(Training, "seed", "Seed", "Training")
    eval_questions: int | None = overrides(Recipe, "eval_questions", "Evaluation questions", "Verdict")
    suites: SuiteNames | None = overrides(Recipe, "suites", "Further suites", "Verdict")
    reference_model: Name | None = Field(
        None,
        title="Hosted reference",
        description="Name of the hosted model that answers the same questions for comparison, if the "
        "Connection sqltune_glm exists. Empty: the Connection's.",
        json_schema_extra={"section": "Verdict"},
    )
    promote: Promote = Field(
        "yes",
        title="Promote",
        description="yes: serve the new model if the gate passes it. ask: a person approves it first, with "
        "the before/after table at hand. hold: evaluate it, and keep serving the current one.",
        json_schema_extra={"section": "Verdict"},
    )
    force: bool = Field(
        False,
        title="Train even if nothing is new",
        description="Off: a plan that was trained before ends the run early, as a success.",
        json_schema_extra={"section": "Verdict"},
    )

    def training(self, base: Training) -> Training:
        """The recipe's training settings, overridden by the form's.

        max_steps takes precedence over max_epochs, so epochs on the form remove the recipe's steps.

        Args:
            base: The recipe's settings.
        """
        overridden = self.model_dump(include=TRAINING_FIELDS, exclude_none=True)
        if "max_epochs" in overridden:
            overridden.setdefault("max_steps", None)
        return Training.model_validate(base.model_dump() | overridden)


TRAINING_FIELDS = set(RunSpec.model_fields) & set(Training.model_fields)
"""Fields of the form that are training settings."""
