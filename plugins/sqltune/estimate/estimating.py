"""The estimate of a plan, put together from what is known of its rows, its model and its cluster."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from sqltune.config.plan import RunPlan
from sqltune.config.recipe import DeepSpeed
from sqltune.dataset import hub
from sqltune.errors import ConfigError, DiskError, HubError
from sqltune.estimate import memory, rates, steps
from sqltune.estimate.config_traits import ConfigTraits, traits
from sqltune.estimate.model import Estimate, Slowdown, StrategyMemory, Tokens
from sqltune.estimate.published import published
from sqltune.node_contracts.preflight import Architecture
from sqltune.records import strategies, trainings
from sqltune.records.measured_strategy import MeasuredStrategy
from sqltune.records.trainings import MeasuredTraining

log = logging.getLogger(__name__)

FASTEST_FIRST: tuple[DeepSpeed, ...] = ("zero2", "zero1", "zero3", "zero2_offload", "zero3_offload")
"""Strategies in the order in which one would try them; ZeRO-2 needs less memory than ZeRO-1 at its speed."""
_MIB = re.compile(r"(\d+) MiB")


def estimate(plan: RunPlan, tokens: Tokens | None, *, ask_hub: bool = True) -> Estimate:
    """Return what a plan's training will take.

    Args:
        plan: The plan.
        tokens: Its rows in tokens, where they are known.
        ask_hub: Whether the hub may be asked for the shape of a base model that no host has shown yet.
    """
    config, ranks = traits(plan.recipe.xtuner_config), plan.cluster.world_size
    shape, gpu_memory = _shape(plan, ask_hub), _gpu_memory(plan)
    earlier, probed = trainings.measured(plan.cluster_name), strategies.measured(plan)
    iterations = steps.iterations(tokens, plan.training, config.packed, ranks)
    per_iteration = steps.tokens_per_iteration(tokens, plan.training, config.packed)
    parameters = memory.sizes(shape, plan.training.lora_rank).total if shape else None
    needed = _memory(plan, config, shape, tokens, gpu_memory)
    rate = rates.rate(plan, earlier, per_iteration, parameters, probed)
    seconds = rate.overhead + iterations * rate.seconds if rate and iterations else None
    hours = None if seconds is None or plan.cluster.accelerator == "cpu" else ranks * seconds / 3600
    price = plan.cluster.gpu_hour_price
    return Estimate(
        strategy=plan.training.deepspeed,
        tokens=tokens,
        iterations=iterations,
        # DeepSpeed leaves micro-batches unused that do not make a whole step.
        optimizer_steps=None if iterations is None else iterations // plan.training.accumulative_counts,
        tokens_per_iteration=per_iteration,
        memory=needed,
        gpu_memory=gpu_memory,
        rate=rate,
        seconds=seconds,
        # The time around the iterations is no better known than theirs.
        seconds_low=seconds * rate.low / rate.seconds if rate and seconds else None,
        seconds_high=seconds * rate.high / rate.seconds if rate and seconds else None,
        gpu_hours=hours,
        price=None if hours is None or price is None else hours * price,
        advice=None if plan.training.probe else _advice(plan, needed, earlier, probed),
    )


def require_memory(estimated: Estimate) -> None:
    """Refuse a plan that no card of the cluster can hold.

    Raises:
        ConfigError: Even without the allowance for the driver the strategy needs more than the card has; it
            names the strategy that fits.
    """
    needed = next((m for m in estimated.memory if m.strategy == estimated.strategy), None)
    card = estimated.gpu_memory
    if needed is None or card is None or not memory.cannot_fit(needed, card):
        return
    parts = ", ".join(
        f"{name} {getattr(needed, name):.1f}" for name in ("weights", "adapter", "activations", "buffers")
    )
    fitting = {m.strategy: m.total for m in estimated.memory if m.fits}
    best = next((s for s in FASTEST_FIRST if s in fitting), None)
    remedy = (
        f"set deepspeed to {best} ({fitting[best]:.1f} GiB) in the form"
        if best
        else "no strategy fits: lower max_length or batch_size, or choose a smaller base model"
    )
    raise ConfigError(
        [
            f"deepspeed: {needed.strategy} needs about {needed.total:.1f} GiB on each GPU ({parts}), and the "
            f"cluster's have {card:.1f} GiB: {remedy}"
        ]
    )


def _shape(plan: RunPlan, ask_hub: bool) -> Architecture | None:
    """The base model's shape: as the hosts have shown it, or from the hub."""
    for host in trainings.hosts(plan.cluster_name, plan.base_model):
        if host.architecture:
            return host.architecture
    repo = plan.recipe.base_model_repo
    if not ask_hub or repo is None or plan.base_model != plan.recipe.base_model:
        return None
    try:
        with TemporaryDirectory() as folder:
            config = hub.fetch_model_file(repo, "config.json", plan.cluster.hub_endpoint, Path(folder))
            return Architecture.read(config.read_text())
    except (DiskError, HubError) as e:
        log.info("memory is not estimated before the hosts were seen: %s", e)
        return None


def _gpu_memory(plan: RunPlan) -> float | None:
    """GiB of the smallest card: by the cluster file, or as measured in an earlier run."""
    if plan.cluster.accelerator == "cpu":
        return None
    if plan.cluster.gpu_memory_gib:
        return plan.cluster.gpu_memory_gib
    if sampled := trainings.gpu_memory(plan.cluster_name):
        return sampled
    hosts = trainings.hosts(plan.cluster_name, plan.base_model)
    sizes = [int(found[1]) for host in hosts for gpu in host.gpus if (found := _MIB.search(gpu))]
    return min(sizes) / 1024 if sizes else None


def _memory(
    plan: RunPlan,
    config: ConfigTraits,
    shape: Architecture | None,
    tokens: Tokens | None,
    gpu_memory: float | None,
) -> list[StrategyMemory]:
    if shape is None or plan.cluster.accelerator == "cpu":
        return []
    widest = steps.widest_batch(tokens, plan.training, config.packed)
    return [
        memory.memory(
            shape,
            config,
            strategy=strategy,
            ranks=plan.cluster.world_size,
            lora_rank=plan.training.lora_rank,
            tokens=widest,
            gpu_memory=gpu_memory,
        )
        for strategy in memory.STRATEGIES
    ]


def _advice(
    plan: RunPlan,
    needed: Sequence[StrategyMemory],
    earlier: Sequence[MeasuredTraining],
    probed: Sequence[MeasuredStrategy],
) -> Slowdown | None:
    """The strategy that this cluster was faster with, or that is known to be faster and fits."""
    own = plan.training.deepspeed
    measured = {s: rates.measured_slowdown(plan, earlier, s, probed) for s in FASTEST_FIRST if s != own}
    factors = {s: f for s, f in measured.items() if f is not None and f > rates.SPREAD}
    if factors:
        best = max(factors, key=lambda strategy: factors[strategy])
        return Slowdown(strategy=best, low=factors[best], high=factors[best], measured=True, sources=[])
    low, high, sources = published().slowdown(own)
    fits = {m.strategy for m in needed if m.fits}
    faster = next((s for s in FASTEST_FIRST if s in fits and published().slowdown(s)[1] < low), None)
    if faster is None or measured[faster] is not None:
        return None
    return Slowdown(strategy=faster, low=low, high=high, measured=False, sources=sources)
