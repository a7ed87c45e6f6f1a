"""The estimate of a training, as `plan` records it and the page shows it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sqltune.config.recipe import DeepSpeed
from ssh_gang.model import Model

TokenBasis = Literal["counted", "other_commit", "characters"]
"""`counted`: this commit's tokens. `other_commit`: the average row of a commit counted before.
`characters`: this commit's characters, and the tokens that one of them makes on average."""

RateBasis = Literal["recipe", "probe", "cluster", "published"]
"""`recipe`: earlier runs with these settings on this cluster. `probe`: a few iterations with these settings
there, made to compare strategies. `cluster`: runs with other settings there, by their tokens a second.
`published`: figures from elsewhere."""


class Tokens(Model):
    """The training rows in tokens."""

    rows: int = Field(description="Training rows.")
    total: int = Field(description="Tokens of all rows, special tokens included.")
    longest: int | None = Field(description="Tokens of the longest row; null where it was not counted.")
    basis: TokenBasis = Field(description="How they are known.")


class StrategyMemory(Model):
    """Memory that one GPU needs under one strategy, in GiB."""

    strategy: DeepSpeed
    weights: float = Field(description="Frozen weights, with what ZeRO-3 gathers of them at a time.")
    adapter: float = Field(description="LoRA weights, their gradients and the optimizer's state.")
    activations: float = Field(description="Kept for the backward pass, and the logits.")
    buffers: float = Field(description="DeepSpeed's communication buffers.")
    reserve: float = Field(description="The driver's context and the allocator's slack: an allowance.")
    total: float = Field(description="All of it.")
    fits: bool | None = Field(description="Whether the card holds it; null where its memory is not known.")


class Rate(Model):
    """How long an iteration takes, and how that is known."""

    seconds: float = Field(description="Seconds an iteration, in the middle of what is likely.")
    low: float = Field(description="Seconds, if all goes well.")
    high: float = Field(description="Seconds, if not.")
    overhead: float = Field(description="Seconds before the first iteration and after the last one.")
    basis: RateBasis
    runs: int = Field(description="Earlier runs that it was measured in; 0 for published figures.")
    sources: list[str] = Field(description="Addresses of published figures.")


class Slowdown(Model):
    """How much slower the plan's strategy is than another one that fits."""

    strategy: DeepSpeed = Field(description="The faster one.")
    low: float = Field(description="Times slower, at least.")
    high: float = Field(description="Times slower, at most.")
    measured: bool = Field(description="Whether it was measured on this cluster, with this recipe.")
    sources: list[str] = Field(description="Addresses of published figures.")


class Estimate(Model):
    """What a training will take; what is not known is null."""

    strategy: DeepSpeed = Field(description="The plan's strategy.")
    tokens: Tokens | None
    iterations: int | None = Field(description="Micro-batches per rank, as max_steps counts them.")
    optimizer_steps: int | None = Field(description="Updates of the weights.")
    tokens_per_iteration: int | None = Field(description="Of one rank.")
    memory: list[StrategyMemory] = Field(description="Of each strategy; empty on a cluster without GPUs.")
    gpu_memory: float | None = Field(description="GiB of the smallest card; null where it is not known.")
    rate: Rate | None
    seconds: float | None = Field(description="Of the training, from the start signal to the end.")
    seconds_low: float | None
    seconds_high: float | None
    gpu_hours: float | None = Field(description="Of all GPUs together; null on a cluster without GPUs.")
    price: float | None = Field(description="Of these hours, where the cluster file has gpu_hour_price.")
    advice: Slowdown | None = Field(description="A faster strategy that fits; null where there is none.")
