"""What one task of the chain hands the next, and the decorator that validates it.

XCom holds JSON. A task function is written for these models instead: `typed_task` validates what comes in
and dumps what goes out. Verdicts and scores are handed on as `sqltune.evaluation` defines them.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field, TypeAdapter

from sqltune.config.plan import RunPlan, Site
from sqltune.node_contracts.dataset import PreparedDataset
from sqltune.node_contracts.export import ExportedModel
from sqltune.node_contracts.preflight import MeasuredHost
from ssh_gang.model import Model

__all__ = [
    "ChosenVersion",
    "DownloadedDataset",
    "ExportedModel",
    "HostFacts",
    "HostedAnswers",
    "HostedBatch",
    "HostedQuestion",
    "HostedReply",
    "ServedModel",
    "Stage",
    "TrainedCheckpoint",
    "dumped",
    "typed_task",
]

Stage = Literal["before", "after"]
"""Which model is evaluated: the one that is served now, or the candidate."""


def typed_task(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function with typed arguments a task function that takes and returns XCom's JSON.

    Each argument is validated by its annotation, and a returned model is dumped. An argument that is a
    model already passes as it is, so a test may call the task with models. The function itself is
    `__wrapped__`. A task with a plan does nothing on a machine whose database is not the plan's.

    Raises:
        pydantic.ValidationError: An argument is not what its annotation says; from the returned function.
        OtherDatabase: This machine's database is not the plan's; from the returned function.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def task(*args: Any, **kwargs: Any) -> Any:
        from sqltune.records.shared import require_database_of

        hints = typing.get_type_hints(function)
        given = signature.bind(*args, **kwargs).arguments
        arguments = {name: _validated(hints[name], value) for name, value in given.items()}
        for name, argument in arguments.items():
            if isinstance(argument, RunPlan) and argument is not given[name]:
                require_database_of(argument)
        return dumped(function(**arguments))

    return task


def _validated(annotation: Any, value: Any) -> Any:
    # The outputs of a mapped task come as a lazy sequence.
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | list | tuple):
        value = list(value)
    return TypeAdapter(annotation).validate_python(value)


def dumped(value: Any) -> Any:
    """A model as XCom's JSON; any other value as it is."""
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


class HostFacts(MeasuredHost):
    """A host that can do its part of the run: what `preflight` measured there."""

    host: str = Field(description="Name of the host in the cluster file.")
    address: str = Field(description="IPv4 address of the cluster's interface on this host.")
    base_model_hash: str = Field(description="Hash of the base model's files.")


class DownloadedDataset(PreparedDataset):
    """What `download_dataset` left on a host."""

    host: str = Field(description="Name of the host in the cluster file.")
    train_path: str = Field(
        description="The training rows; the same path on every host, ~ is the home there."
    )


class ServedModel(Model):
    """A model that `serve` made ready to answer, or whose answers are known."""

    name: str = Field(description="Name that the model is served under.")
    model: str = Field(description="Path of the model on the serving host.")
    hash: str = Field(description="Hash of the model's files.")
    cached: bool = Field(description="Whether all answers were known, so that nothing was started.")
    stop: bool = Field(description="Whether `stop` ends it; the champion goes on serving its users.")
    worker: str = Field("", description="Worker whose answers count; empty: nothing was started.")


class HostedQuestion(Model):
    """A question for the hosted reference."""

    id: str = Field(description="Id of the question in its suite.")
    prompt: str = Field(description="The prompt, rendered.")


class HostedBatch(Model):
    """What the hosted reference is to answer, and its budget."""

    model: str = Field(description="The model's name at the service.")
    url: str = Field(description="Base address of the service; empty: the client's own default.")
    label: str = Field(description="Heading of its column in the table.")
    known: int = Field(0, description="Questions that it answered in earlier runs.")
    max_calls: int = Field(description="Questions that this run may send.")
    max_cost: float = Field(description="What this run may spend, in the currency of the price.")
    price: float = Field(description="Price of a thousand tokens.")
    questions: list[HostedQuestion] = Field(description="Questions without an answer yet.")


class HostedReply(Model):
    """What `ask_hosted` returns from its own environment."""

    answers: dict[str, str] = Field(description="Answers by question id; questions that failed are missing.")
    calls: int = Field(description="Questions that were sent.")
    tokens: int = Field(description="Tokens that the service counted, questions and answers together.")
    cost: float = Field(description="What they cost, in the currency of the price.")
    error: str = Field(description="Why answers are missing; empty when none are.")


class HostedAnswers(Model):
    """What the hosted reference answered in this run, and why it stopped."""

    model: str = Field(description="The model's name at the service.")
    url: str = Field(description="Base address of the service; empty: the client's own default.")
    label: str = Field(description="Heading of its column in the table.")
    answers: dict[str, str] = Field(description="Answers by question id.")
    error: str = Field(description="Why answers are missing; empty when none are.")


class TrainedCheckpoint(Model):
    """What `train` left on the hosts."""

    config: str = Field(description="The xtuner config it was trained with, on every host.")
    checkpoint: str = Field(description="Folder of the last checkpoint; each host holds its own shards.")
    steps: int = Field(description="Iterations trained.")
    loss: float | None = Field(description="Training loss of the last iteration; None if it was not logged.")
    seconds: float = Field(description="Seconds from the start signal to the end.")
    launch_skew: float | None = Field(description="Seconds between the first and the last host's start.")
    launch_skew_error: float | None = Field(description="Seconds that the skew may be off.")
    train_hash: str = Field("", description="Hash of the rows trained on; empty: of an earlier version.")
    strategy: str = Field("", description="DeepSpeed strategy that was used; empty: of an earlier version.")


class ChosenVersion(Model):
    """The version that text2sql_promote is to serve."""

    site: Site = Field(description="The cluster to serve on.")
    version: int = Field(description="Number of the version.")
    reason: str = Field(description="Why, for the record of promotions.")
