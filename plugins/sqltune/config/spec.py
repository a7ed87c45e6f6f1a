"""The run spec: what a person fills in on the trigger form."""

from __future__ import annotations

from typing import Any, Literal

from annotated_types import Ge, Le
from pydantic import BaseModel, Field, ValidationInfo, field_validator

from sqltune.config.base import ModelPath, Name, RepoId, Revision, SuiteNames
from sqltune.config.recipe import DeepSpeed, Recipe, StartFrom, Training
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
        description=f"{setting.description} Empty: the preset's or the recipe's value.",
        examples=setting.examples,
        json_schema_extra={"section": section},
    )


class RunSpec(Model):
    """The trigger form. An empty field takes the preset's value, and without one there the recipe's."""

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
    preset: Name | None = Field(
        None,
        title="Preset",
        description="Values for a few fields at once: an entry of include/configs/presets.yaml. A field that "
        "is filled in below wins over it.",
    )
    dataset_repo: RepoId | None = overrides(Recipe, "dataset_repo", "Dataset repository", "Data")
    dataset_revision: Revision | None = Field(
        None,
        title="Dataset revision",
        description="Branch, tag or commit. Empty: the newest commit of main as of the run's logical date.",
        examples=["main"],
        json_schema_extra={"section": "Data"},
    )
    accept_data: bool = Field(
        False,
        title="Accept the data as it is",
        description="On: train although the dataset exceeds a limit of the recipe (data_limits), after "
        "somebody has looked at what changed.",
        json_schema_extra={"section": "Data"},
    )
    base_model: ModelPath | None = overrides(Recipe, "base_model", "Base model", "Training")
    start_from: StartFrom | None = overrides(Recipe, "start_from", "Start from", "Training")
    max_steps: int | None = overrides(Training, "max_steps", "Max steps", "Training")
    max_epochs: int | None = overrides(Training, "max_epochs", "Max epochs", "Training")
    learning_rate: float | None = overrides(Training, "learning_rate", "Learning rate", "Training")
    lora_rank: int | None = overrides(Training, "lora_rank", "LoRA rank", "Training")
    max_length: int | None = overrides(Training, "max_length", "Sequence length", "Training")
    deepspeed: DeepSpeed | None = overrides(Training, "deepspeed", "DeepSpeed strategy", "Training")
    probe: bool | None = overrides(Training, "probe", "Use the fastest strategy", "Training")
    seed: int | None = overrides(Training, "seed", "Seed", "Training")
    eval_questions: int | None = overrides(Recipe, "eval_questions", "Evaluation questions", "Verdict")
    suites: SuiteNames | None = overrides(Recipe, "suites", "Further suites", "Verdict")
    reference_model: Name | None = Field(
        None,
        title="Hosted reference",
        description="Name of the hosted model that answers the same questions for comparison, if the "
        "Connection sqltune_glm exists. Empty: the Connection's.",
        examples=["glm-4"],
        json_schema_extra={"section": "Verdict"},
    )
    promote: Promote | None = Field(
        None,
        title="Promote",
        description="yes: serve the new model if the gate passes it. ask: a person approves it first, with "
        "the before/after table at hand. hold: evaluate it, and keep serving the current one. "
        "Empty: the preset's value, or yes.",
        json_schema_extra={"section": "Verdict"},
    )
    force: bool = Field(
        False,
        title="Train even if nothing is new",
        description="Off: a plan that was trained before ends the run early, as a success.",
        json_schema_extra={"section": "Verdict"},
    )

    @field_validator("probe")
    @classmethod
    def _no_strategy_beside_the_fastest(cls, probe: bool | None, info: ValidationInfo) -> bool | None:
        if probe and (strategy := info.data.get("deepspeed")):
            raise ValueError(f"it chooses the strategy, and deepspeed is {strategy}: leave one of them empty")
        return probe

    def filled_in(self, preset: RunSpec) -> RunSpec:
        """The form with a preset's values in its empty fields.

        Steps and epochs are one setting, and so are a strategy and the fastest one: where the form has
        either, the preset's are left out.

        Args:
            preset: The preset's values.
        """
        own = self.model_dump(exclude_none=True)
        values = preset.model_dump(include=PRESET_FIELDS, exclude_none=True)
        for one_setting in _LENGTH, _STRATEGY:
            if any(own.get(name) for name in one_setting):
                values = {name: value for name, value in values.items() if name not in one_setting}
        return RunSpec.model_validate(values | own)

    def training(self, base: Training) -> Training:
        """The recipe's training settings, overridden by the form's.

        max_steps takes precedence over max_epochs, so epochs on the form remove the recipe's steps. So does
        a strategy on the form the recipe's probe.

        Args:
            base: The recipe's settings.
        """
        overridden = self.model_dump(include=TRAINING_FIELDS, exclude_none=True)
        if "max_epochs" in overridden:
            overridden.setdefault("max_steps", None)
        if "deepspeed" in overridden:
            overridden.setdefault("probe", False)
        return Training.model_validate(base.model_dump() | overridden)


TRAINING_FIELDS = set(RunSpec.model_fields) & set(Training.model_fields)
"""Fields of the form that are training settings."""
PRESET_FIELDS = set(RunSpec.model_fields) - {"recipe", "cluster", "preset", "dataset_revision", "force"}
"""Fields that a preset may fill in: those that can be empty on the form, but not what is trained where."""
_LENGTH = {"max_steps", "max_epochs"}
_STRATEGY = {"deepspeed", "probe"}
