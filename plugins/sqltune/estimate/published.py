"""Published rates and slowdowns, for clusters on which nothing was measured yet."""

from __future__ import annotations

import math
from functools import cache

import yaml
from pydantic import Field

from sqltune.config import paths
from sqltune.config.recipe import DeepSpeed
from ssh_gang.model import Accelerator, Model


class PublishedRate(Model):
    """How many tokens one rank trained a second, somewhere."""

    parameters: float = Field(gt=0, description="Of the model.")
    quantized: bool = Field(description="Whether its weights were in 4 bits.")
    device: str = Field(description="The card, or the cores.")
    gpu: bool = Field(description="Whether the device is a GPU.")
    strategy: DeepSpeed | None = Field(None, description="None: one card alone, without DeepSpeed.")
    tokens_per_second: float = Field(gt=0)
    source: str


class PublishedSlowdown(Model):
    """How much longer a strategy took than the fastest one, somewhere."""

    strategy: DeepSpeed
    factor: float = Field(ge=1)
    what: str = Field(description="What was trained, and where.")
    source: str


class Published(Model):
    """The file `published.yaml`."""

    rates: list[PublishedRate]
    slowdowns: list[PublishedSlowdown]

    def slowdown(self, strategy: DeepSpeed) -> tuple[float, float, list[str]]:
        """How much slower a strategy is than the fastest one: from, to, and the sources."""
        found = [s for s in self.slowdowns if s.strategy == strategy]
        factors = [s.factor for s in found] or [1.0]
        return min(factors), max(factors), list(dict.fromkeys(s.source for s in found))

    def rate(self, accelerator: Accelerator, parameters: float, quantized: bool) -> PublishedRate | None:
        """The published rate of the most similar training, scaled to the model's size."""
        same = [r for r in self.rates if r.gpu == (accelerator != "cpu")]
        if not same:
            return None

        def distance(rate: PublishedRate) -> tuple[bool, float]:
            return rate.quantized != quantized, abs(math.log(rate.parameters / parameters))

        nearest = min(same, key=distance)
        scaled = nearest.tokens_per_second * nearest.parameters / parameters
        return nearest.model_copy(update={"tokens_per_second": scaled})


@cache
def published() -> Published:
    """Read include/configs/published.yaml."""
    text = (paths.CONFIGS / "published.yaml").read_text(encoding="utf-8")
    return Published.model_validate(yaml.safe_load(text))
