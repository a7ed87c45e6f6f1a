"""Values that are each allowed, and do not fit together."""

from __future__ import annotations

from collections.abc import Iterator

from sqltune.config import paths, xtuner_config
from sqltune.config.cluster import Cluster, Serving
from sqltune.config.recipe import Recipe, Training
from sqltune.errors import ConfigError

SHORTEST_PROMPT = 64
"""Tokens below which max_length holds no example: the prompt template alone is longer."""


def inconsistencies(recipe: Recipe, cluster: Cluster, training: Training) -> list[str]:
    """One line for each inconsistency: the field, what was found, what was expected, what to do."""
    return [
        *_xtuner_config(recipe),
        *_training(training),
        *_hosts(cluster),
        *_serving(cluster),
        *_concurrency(recipe, cluster.serving),
    ]


def _xtuner_config(recipe: Recipe) -> Iterator[str]:
    folder = paths.CONFIGS / "xtuner"
    if not xtuner_config.exists(recipe.xtuner_config):
        choices = ", ".join(sorted(p.name for p in folder.glob("*.py")))
        yield (
            f"recipe.xtuner_config: {recipe.xtuner_config!r} is not in include/configs/xtuner "
            f"(choices: {choices}): correct it in the recipe"
        )


def _training(training: Training) -> Iterator[str]:
    if training.max_steps is None and training.max_epochs is None:
        yield "max_steps: neither max_steps nor max_epochs is set: set one in the form or the recipe"
    if training.max_length < SHORTEST_PROMPT:
        yield (
            f"max_length: {training.max_length} tokens hold no example (the prompt alone has more than "
            f"{SHORTEST_PROMPT}): set 128 or more"
        )


def _hosts(cluster: Cluster) -> Iterator[str]:
    names = [h.name for h in cluster.hosts]
    for name in sorted({n for n in names if names.count(n) > 1}):
        yield f"cluster.hosts: {name!r} is named twice: give each host a name of its own"
    if len({h.processes for h in cluster.hosts}) > 1:
        processes = ", ".join(f"{h.name}: {h.processes}" for h in cluster.hosts)
        yield f"cluster.hosts: processes differ ({processes}): torchrun needs the same number on each"
    if cluster.accelerator == "cpu" and cluster.backend == "nccl":
        yield "cluster.backend: nccl needs GPUs, and accelerator is cpu: set backend to gloo"


def _serving(cluster: Cluster) -> Iterator[str]:
    serving = cluster.serving
    hosts = {h.name: h for h in cluster.hosts}
    if serving.host not in hosts:
        yield f"cluster.serving.host: {serving.host!r} is not one of the hosts ({', '.join(hosts)}): name one"
    elif cluster.accelerator != "cpu" and serving.num_gpus > hosts[serving.host].processes:
        yield (
            f"cluster.serving.num_gpus: {serving.num_gpus} GPUs, and {serving.host} has "
            f"{hosts[serving.host].processes} (its processes): set num_gpus to that or less"
        )
    if serving.max_gpu_memory and serving.num_gpus == 1:
        yield (
            f"cluster.serving.max_gpu_memory: {serving.max_gpu_memory} has no effect on one GPU, which "
            "FastChat fills as it needs: set num_gpus to 2 or more, or remove it"
        )
    if serving.engine == "fastchat" and serving.is_unmerged:
        yield (
            "cluster.serving.adapters: unmerged, and engine fastchat serves whole models: set engine to "
            "batched, or adapters to merged"
        )
    if serving.engine == "vllm":
        yield from _vllm(cluster)
    yield from _trial(serving)
    yield from _api_key(serving)


def _trial(serving: Serving) -> Iterator[str]:
    """What a trial of a candidate needs."""
    trial, limit = serving.trial, serving.limits.seconds
    if not trial.is_on:
        return
    if trial.mode == "canary" and trial.share == 1:
        yield (
            "cluster.serving.trial.share: 1, and a canary that gets every request leaves none for the served "
            "model, with which it is compared: set it below 1"
        )
    if trial.answer_within >= limit:
        yield (
            f"cluster.serving.trial.answer_within: {trial.answer_within:g} s, and cluster.serving.limits "
            f"gives a request {limit:g} s in all, so that the served model could not answer: lower it"
        )
    if serving.engine == "vllm" and serving.cache_gib is None and not serving.is_unmerged:
        yield (
            f"cluster.serving.cache_gib: empty, with engine vllm and trial.mode {trial.mode}: the model "
            "that is served has taken 70 % of the GPU, and the candidate would get 70 % of the rest: set "
            "cache_gib so that both fit"
        )


def _vllm(cluster: Cluster) -> Iterator[str]:
    """What vLLM cannot do."""
    serving = cluster.serving
    if serving.deterministic:
        yield (
            "cluster.serving.deterministic: true, and with engine vllm an answer depends on what else is "
            "asked: set engine to batched, or remove deterministic"
        )
    if serving.max_gpu_memory:
        yield (
            f"cluster.serving.max_gpu_memory: {serving.max_gpu_memory}, and engine vllm divides a model "
            "evenly between its GPUs: remove it; cache_gib bounds the memory for keys and values"
        )
    if cluster.accelerator == "rocm":
        yield (
            "cluster.serving.engine: vllm, and accelerator is rocm, for which vLLM has no build for the "
            "hosts' Python 3.11: set engine to batched"
        )


def _api_key(serving: Serving) -> Iterator[str]:
    try:
        _ = serving.api_keys
    except ConfigError as e:
        yield from e.mistakes


def _concurrency(recipe: Recipe, serving: Serving) -> Iterator[str]:
    concurrency = recipe.decoding.concurrency
    allowed = min(serving.limits.requests, serving.limits.requests_per_key)
    if concurrency > allowed:
        yield (
            f"recipe.decoding.concurrency: the evaluation would send {concurrency} requests at once, and "
            f"cluster.serving.limits lets {allowed} of a key in: lower it, or raise the limits"
        )
