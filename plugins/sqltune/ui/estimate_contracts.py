"""What the page's API answers about estimates."""

from __future__ import annotations

from pydantic import Field

from sqltune.estimate.model import Estimate
from sqltune.records.measured_strategy import MeasuredStrategy
from ssh_gang.model import Model


class Taken(Model):
    """What a training took."""

    strategy: str = Field(description="DeepSpeed's, the one that was used; empty where it is not known.")
    iterations: int
    seconds_per_step: float = Field(description="On average, without the first ones.")
    seconds: float | None = Field(description="From the start signal to the end; null where it was resumed.")
    gpu_hours: float | None = Field(description="Null on a cluster without GPUs, or where it was resumed.")
    price: float | None = Field(description="Of these hours, where the cluster file has a price.")
    memory: float | None = Field(description="GiB of the fullest GPU at its highest; null without samples.")


class RunEstimate(Model):
    """The estimate of a run, beside what it took."""

    estimate: Estimate | None = Field(description="Null for a run that an earlier version planned.")
    taken: Taken | None = Field(description="Null before the end of the training.")
    strategies: list[MeasuredStrategy] = Field(
        description="How fast each strategy was with this run's settings; empty without `probe`."
    )


class Choice(Model):
    """A recipe, a cluster or a preset."""

    name: str
    description: str


class Choices(Model):
    """What a new run can be made of, and the form's defaults."""

    recipes: list[Choice]
    clusters: list[Choice]
    presets: list[Choice]
    recipe: str = Field(description="The form's default.")
    cluster: str = Field(description="The form's default.")


class NewRunEstimate(Model):
    """What a run would take, if it were triggered now with this form."""

    estimate: Estimate | None = Field(description="Null where the form has mistakes.")
    base_model: str | None
    dataset_repo: str | None
    promote: str | None = Field(description="Who decides whether a passed model is served.")
    mistakes: list[str] = Field(description="Why `plan` would refuse it, one line each.")
