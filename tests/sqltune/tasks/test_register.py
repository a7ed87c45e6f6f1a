"""The number and the lineage of a candidate."""

from __future__ import annotations

from typing import Any

import pytest

from sqltune.config.plan import RunPlan
from sqltune.contracts import HostFacts
from sqltune.evaluation.scorer import score_answers
from sqltune.evaluation.statistics import compare
from sqltune.evaluation.verdict import Verdict
from sqltune.registry import versions
from sqltune.tasks import register
from sqltune.tasks.evaluate import suite_of
from tests.exported import EXPORTED
from tests.host_facts import facts
from tests.sqltune.evaluation.builders import store

TRAINED = {
    "config": "~/c.py",
    "checkpoint": "~/iter_4.pth",
    "steps": 4,
    "loss": 1.0,
    "seconds": 1800.0,
    "launch_skew": 0.01,
    "launch_skew_error": 0.001,
    "strategy": "zero1",
}
VERDICT = Verdict(passed=True, rules=(), comparison=compare(100, 10, 2)).model_dump(mode="json")


@pytest.fixture
def number(plan: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> int:
    """The number of a registered candidate."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    p = RunPlan.model_validate(plan)
    for stage in ("before", "after"):
        store(p.key, stage, score_answers(stage, suite_of(p), {}))
    return run(plan)


def run(plan: dict[str, Any]) -> int:
    hosts = [facts("host-a"), facts("host-b")]
    return register.register(plan, hosts, TRAINED, EXPORTED.model_dump(), VERDICT)


def test_a_retry_gets_the_same_number(plan, number):
    assert run(plan) == number


def test_the_version_is_the_merged_model(number):
    version = versions.version("lab", number)
    assert (version.merged_path, version.model_hash) == ("/code/merged", "merged-hash")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("verdict", "passed"),
        ("base_model_hash", "same"),
        ("started_from", "base model"),
        ("checkpoint_hash", "checkpoint-hash"),
        ("host_versions", "torch=2.13.0"),
        ("strategy", "zero1"),
        ("engine", "batched 1 bfloat16"),
        ("rank_hours", "1.000"),
        ("gpu_hours", "0.000"),
    ],
)
def test_the_lineage_names_where_the_version_comes_from(number, name, value):
    assert versions.version("lab", number).lineage[name] == value


def test_the_lineage_names_vllms_version(plan, number):
    plan["cluster"]["serving"]["engine"] = "vllm"
    host = HostFacts.model_validate(facts("host-a"))
    assert register._engine(RunPlan.model_validate(plan), host) == "vllm 0.32.0 bfloat16"


def test_the_lineage_names_fastchats_version(plan, number):
    plan["cluster"]["serving"]["engine"] = "fastchat"
    host = HostFacts.model_validate(facts("host-a") | {"versions": {"fschat": "0.2.36"}})
    assert register._engine(RunPlan.model_validate(plan), host) == "fastchat bfloat16 (0.2.36)"
