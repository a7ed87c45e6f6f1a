"""Values that do not fit together are named, with what to do."""

from __future__ import annotations

import pytest

from sqltune.config.consistency import inconsistencies
from sqltune.config.loading import load_cluster, load_recipe
from ssh_gang.model import Model


@pytest.fixture
def recipe():
    return load_recipe("lab_tiny")


@pytest.fixture
def gpus(monkeypatch):
    """The cluster with two hosts of four GPUs."""
    monkeypatch.setenv("SQLTUNE_API_KEY", "secret")
    return load_cluster("gpu_2x4")


def with_values(model: Model, **values: object) -> Model:
    """A copy with other values, validated."""
    return type(model).model_validate(model.model_dump() | values)


def test_files_that_fit_have_no_inconsistencies(recipe, gpus):
    assert inconsistencies(recipe, gpus, recipe.training) == []


def test_a_missing_xtuner_config_lists_the_choices(recipe, gpus):
    wrong = with_values(recipe, xtuner_config="lab_lroa.py")
    (line,) = inconsistencies(wrong, gpus, recipe.training)
    assert line.startswith("recipe.xtuner_config: 'lab_lroa.py' is not in include/configs/xtuner (choices: ")
    assert "lab_lora.py" in line


def test_training_needs_steps_or_epochs(recipe, gpus):
    training = with_values(recipe.training, max_steps=None)
    (line,) = inconsistencies(recipe, gpus, training)
    assert line.startswith("max_steps: neither max_steps nor max_epochs is set")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"hosts": [{"name": "a", "conn_id": "a", "processes": 4}] * 2, "serving": {"host": "a"}},
            "cluster.hosts: 'a' is named twice",
        ),
        (
            {
                "hosts": [
                    {"name": "a", "conn_id": "a", "processes": 4},
                    {"name": "b", "conn_id": "b", "processes": 2},
                ],
                "serving": {"host": "a"},
            },
            "cluster.hosts: processes differ (a: 4, b: 2)",
        ),
        ({"accelerator": "cpu"}, "cluster.backend: nccl needs GPUs"),
        ({"serving": {"host": "c"}}, "cluster.serving.host: 'c' is not one of the hosts (gpu-0, gpu-1)"),
        (
            {"serving": {"host": "gpu-0", "num_gpus": 8}},
            "cluster.serving.num_gpus: 8 GPUs, and gpu-0 has 4",
        ),
        (
            {"serving": {"host": "gpu-0", "max_gpu_memory": "15GiB"}},
            "cluster.serving.max_gpu_memory: 15GiB has no effect on one GPU",
        ),
        (
            {"serving": {"host": "gpu-0", "engine": "vllm", "deterministic": True}},
            "cluster.serving.deterministic: true, and with engine vllm an answer depends on what",
        ),
        (
            {"serving": {"host": "gpu-0", "engine": "vllm", "num_gpus": 2, "max_gpu_memory": "15GiB"}},
            "cluster.serving.max_gpu_memory: 15GiB, and engine vllm divides a model evenly",
        ),
        (
            {"serving": {"host": "gpu-0", "engine": "fastchat", "adapters": "unmerged"}},
            "cluster.serving.adapters: unmerged, and engine fastchat serves whole models: set engine",
        ),
        (
            {"accelerator": "rocm", "serving": {"host": "gpu-0", "engine": "vllm"}},
            "cluster.serving.engine: vllm, and accelerator is rocm",
        ),
        (
            {"serving": {"host": "gpu-0", "api_key_env": "NOT_SET_ANYWHERE"}},
            "cluster.serving.api_key_env: NOT_SET_ANYWHERE is not set",
        ),
        (
            {"serving": {"host": "gpu-0", "limits": {"requests_per_key": 1}}},
            "recipe.decoding.concurrency: the evaluation would send 16 requests at once, and "
            "cluster.serving.limits lets 1 of a key in",
        ),
    ],
)
def test_a_cluster_that_does_not_fit_is_named_by_field(recipe, gpus, change, message):
    (line,) = inconsistencies(recipe, with_values(gpus, **change), recipe.training)
    assert line.startswith(message)


@pytest.mark.parametrize(
    ("serving", "message"),
    [
        (
            {"trial": {"mode": "canary", "share": 1}},
            "cluster.serving.trial.share: 1, and a canary that gets every request leaves none",
        ),
        (
            {"trial": {"mode": "shadow", "answer_within": 600}},
            "cluster.serving.trial.answer_within: 600 s, and cluster.serving.limits gives a request 600 s",
        ),
        (
            {"trial": {"mode": "shadow"}, "engine": "vllm"},
            "cluster.serving.cache_gib: empty, with engine vllm and trial.mode shadow",
        ),
    ],
)
def test_what_a_trial_needs_is_named(recipe, gpus, serving, message):
    changed = with_values(gpus, serving={"host": "gpu-0"} | serving)
    (line,) = inconsistencies(recipe, changed, recipe.training)
    assert line.startswith(message)
    off = with_values(gpus, serving={"host": "gpu-0"} | serving | {"trial": {"mode": "off", "share": 1}})
    assert inconsistencies(recipe, off, recipe.training) == []


@pytest.mark.parametrize(
    "serving",
    [
        {"trial": {"mode": "shadow", "share": 1}},
        {"trial": {"mode": "canary", "share": 0.5}, "engine": "vllm", "cache_gib": 20},
        {"trial": {"mode": "canary", "share": 0.5}, "engine": "vllm", "adapters": "unmerged"},
    ],
)
def test_a_trial_that_fits_is_accepted(recipe, gpus, serving):
    changed = with_values(gpus, serving={"host": "gpu-0"} | serving)
    assert inconsistencies(recipe, changed, recipe.training) == []


@pytest.mark.parametrize("engine", ["batched", "vllm"])
def test_adapters_are_served_unmerged_by_engines_that_can(recipe, gpus, engine):
    cluster = with_values(gpus, serving={"host": "gpu-0", "engine": engine, "adapters": "unmerged"})
    assert inconsistencies(recipe, cluster, recipe.training) == []
