"""A recipe: what is trained, how, and how it is judged."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sqltune.config.base import ModelPath, RepoId, SuiteNames
from sqltune.prompt import STOP
from ssh_gang.model import Model

DeepSpeed = Literal["zero1", "zero2", "zero2_offload", "zero3", "zero3_offload"]


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
