"""A recipe: what is trained, how, and how it is judged."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sqltune.config.base import ModelPath, RepoId, SuiteNames
from sqltune.config.data_limits import DataLimits
from sqltune.sql.prompt import STOP
from ssh_gang.model import Model

DeepSpeed = Literal["zero1", "zero2", "zero2_offload", "zero3", "zero3_offload"]
StartFrom = Literal["base", "champion"]


class Training(Model):
    """Part 1 of an xtuner config: the settings that a run writes into the copy it trains with."""

    max_steps: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Iterations (micro-batches per rank) to train for; takes precedence over max_epochs.",
        examples=[200],
    )
    max_epochs: int | None = Field(
        None,
        ge=1,
        le=100,
        description="Passes over the training rows, where max_steps is empty.",
        examples=[3],
    )
    learning_rate: float = Field(
        ge=1e-7, le=0.01, description="Peak learning rate of AdamW.", examples=[0.0002]
    )
    lora_rank: int = Field(ge=1, le=512, description="Rank r of the adapter.", examples=[64])
    max_length: int = Field(
        ge=1,
        le=32_768,
        description="Tokens per training row; must hold the longest example.",
        examples=[2048],
    )
    batch_size: int = Field(ge=1, description="Rows per rank and micro-batch.")
    accumulative_counts: int = Field(1, ge=1, description="Micro-batches per optimizer step.")
    deepspeed: DeepSpeed = Field(
        description="DeepSpeed strategy: how weights and optimizer state are spread over the ranks.",
        examples=["zero2"],
    )
    probe: bool = Field(
        False,
        description="On: the fastest of the DeepSpeed strategies that fit is used. Where this cluster has "
        "not measured them yet with these settings, the run first trains 20 iterations with each.",
    )
    seed: int = Field(
        42,
        ge=0,
        le=2**31 - 1,
        description="Seed of the adapter's weights and of the order of the rows.",
        examples=[42],
    )
    save_steps: int = Field(500, ge=1, description="Iterations between checkpoints.")
    save_total_limit: int = Field(2, ge=1, description="Checkpoints kept; older ones are removed.")
    log_interval: int = Field(10, ge=1, description="Iterations between log lines.")


class Decoding(Model):
    """How a served model generates its answers when it is evaluated."""

    max_tokens: int = Field(128, ge=8, le=4096, description="Maximum tokens of one answer.")
    temperature: float = Field(
        0.0, ge=0, le=2, description="Sampling temperature; 0 always takes the likeliest token."
    )
    concurrency: int = Field(16, ge=1, le=256, description="Requests in flight at the same time.")
    timeout: float = Field(120, gt=0, description="Seconds that one answer may take.")
    stop: list[str] = Field(list(STOP), description="Texts that end an answer; they are not part of it.")


Policy = Literal["nightly", "newest", "each", "tagged"]


class Revisions(Model):
    """Which commits of the dataset are trained by themselves, and when; docs/revisions.md."""

    policy: Policy = Field(
        "nightly",
        description="nightly: the newest commit, at the schedule. newest: the newest commit, when it comes; "
        "those before it that wait are skipped. each: every commit, in order. tagged: every commit that has "
        "a tag.",
    )
    quiet_period: int = Field(
        120,
        ge=0,
        le=86_400,
        description="Seconds without a new commit after which training starts: commits that follow one "
        "another are one training under the policy newest. A minute at least, unless Airflow parses the DAG "
        "more often than every 30 seconds.",
    )


class Recipe(Model):
    """What is trained and how: a file in `include/configs/recipes`."""

    description: str = Field(description="One line for the form and the record.")
    xtuner_config: str = Field(pattern=r"^[\w-]+\.py$", description="File in include/configs/xtuner.")
    base_model: ModelPath = Field(
        description="Folder of the base model on every host; ~ is the home directory there.",
        examples=["/code/models/CodeLlama-7b-hf"],
    )
    base_model_repo: RepoId | None = Field(
        None,
        description="Repository of the base model on the hub. Its tokenizer.json and config.json serve the "
        "estimate; nothing else is read there. Empty: the hosts count, once they have the dataset.",
    )
    start_from: StartFrom = Field(
        "base",
        description="base: a new adapter is trained. champion: training goes on from the adapter of the "
        "model that is served; the first run, when none is, starts from the base model.",
        examples=["champion"],
    )
    dataset_repo: RepoId = Field(
        description="Dataset repository on the hub, owner/name.",
        examples=["jtjt520j/CSpider_and_DUSQL_sql_create_context"],
    )
    dataset_files: list[str] = Field(
        ["*.jsonl", "*.json"],
        description="Patterns of the files to read, in order of preference; the first that matches is used.",
    )
    held_out_percent: int = Field(
        10, ge=1, le=50, description="Share of the databases kept out of training, in percent."
    )
    data_limits: DataLimits = Field(
        DataLimits(), description="What a revision of the dataset may change before a person is needed."
    )
    eval_questions: int = Field(
        200,
        ge=10,
        le=10_000,
        description="Held-out questions that both models answer.",
        examples=[500],
    )
    suites: SuiteNames | None = Field(
        None,
        description="Suites to evaluate on beside the held-out questions, separated by commas: files in "
        "include/configs/regression without .jsonl, or benchmarks in a folder that SQLTUNE_SUITES names.",
        examples=["spider_dev, dusql_dev"],
    )
    gate: dict[str, float] = Field(
        default_factory=dict, description="Rules of gate.yaml with another value for this recipe."
    )
    revisions: Revisions = Field(
        Revisions(), description="Which commits of the dataset are trained by themselves, and when."
    )
    on_loss: Literal["stop", "tell"] = Field(
        "tell",
        description="What becomes of a training whose loss is NaN, infinite or jumps. stop: it is stopped at "
        "once. tell: the log and an alert say so, and it goes on; it fails in the end if its last loss is "
        "not finite.",
    )
    loss_jump: float = Field(
        3.0, gt=1, description="A jump: so many times the median of the 20 losses reported before."
    )
    training: Training = Field(description="Training settings.")
    decoding: Decoding = Field(Decoding(), description="How answers are generated.")
    serving_dtype: Literal["float32", "float16", "bfloat16"] = Field(
        "float16", description="Data type of the served weights."
    )
