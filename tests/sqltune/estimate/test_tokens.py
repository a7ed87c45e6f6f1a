"""Tokens of a commit, counted where the plan is made, by the lab's hub and its tokenizers."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime

import pytest

from sqltune.config.plan import RunPlan
from sqltune.estimate.tokens import count_tokens, known_tokens
from sqltune.records import token_counts
from sqltune.tasks.planning import make_plan
from tests.conftest import ROOT

SCRIPT = """
import json, sys
from pathlib import Path
from fetch_dataset import prepare, token_lengths
from sqltune.node_contracts.dataset import FetchRequest
response = prepare(FetchRequest.model_validate_json(sys.argv[1]))
print(json.dumps([response.counts["train"], response.tokens, response.longest]))
"""


@pytest.fixture
def plan(hub, records, monkeypatch) -> RunPlan:
    monkeypatch.setenv("SQLTUNE_LAB_HUB", hub)
    return make_plan({"recipe": "lab_tiny"}, "r1", datetime(2026, 11, 1, tzinfo=UTC), "code1")


def without_tokenizer(plan: RunPlan) -> RunPlan:
    return plan.model_copy(update={"recipe": plan.recipe.model_copy(update={"base_model_repo": None})})


def test_rows_are_counted_with_the_base_models_tokenizer(plan):
    counted = count_tokens(plan)
    assert counted.basis == "counted"
    assert counted.longest < plan.training.max_length
    assert counted.total == pytest.approx(119 * counted.rows, rel=0.2)


def test_a_count_is_recorded_and_not_made_again(plan, monkeypatch):
    counted = count_tokens(plan)
    monkeypatch.setattr("sqltune.dataset.hub.fetch", lambda *a: pytest.fail("fetched again"))
    assert count_tokens(plan) == counted


def test_without_a_tokenizer_the_characters_are_counted(plan):
    guessed = count_tokens(without_tokenizer(plan))
    assert (guessed.basis, guessed.longest) == ("characters", None)
    assert guessed.rows == count_tokens(plan).rows


def test_characters_have_the_tokens_that_another_commit_had(plan):
    counted = count_tokens(plan)
    other = without_tokenizer(plan.model_copy(update={"dataset_commit": plan.dataset_commit}))
    token_counts.put(token_counts.key_of(plan.model_copy(update={"dataset_commit": "0" * 40})), 10, 1190, 200)
    key = token_counts.key_of(other)
    assert token_counts.newest(key).tokens == 1190
    assert count_tokens(other) == counted


def test_a_form_with_another_base_model_does_not_use_the_recipes_tokenizer(plan):
    assert count_tokens(plan.model_copy(update={"base_model": "~/models/other"})).basis == "characters"


def test_another_commits_count_serves_while_the_hub_is_away(plan):
    counted = count_tokens(plan)
    gone = plan.cluster.model_copy(update={"hub_endpoint": "http://127.0.0.1:9"})
    away = plan.model_copy(update={"cluster": gone, "dataset_commit": "1" * 40})
    known = known_tokens(away)
    assert (known.basis, known.total) == ("other_commit", counted.total)


@pytest.mark.slow
def test_the_host_counts_the_same(plan, node_python, tmp_path, hub):
    """With transformers and the whole model folder; and here with the tokenizer's file alone."""
    from lab.paths import BASE

    request = {
        "repo": plan.dataset_repo,
        "commit": plan.dataset_commit,
        "files": plan.recipe.dataset_files,
        "endpoint": hub,
        "folder": str(tmp_path / "data"),
        "split_dir": str(tmp_path / "split"),
        "percent": plan.recipe.held_out_percent,
        "questions": 0,
        "max_length": plan.training.max_length,
        "base_model": str(BASE / "models" / "tiny"),
    }
    answer = subprocess.run(
        [node_python, "-c", SCRIPT, json.dumps(request)],
        capture_output=True,
        text=True,
        timeout=300,
        env={"PYTHONPATH": f"{ROOT}/include/node:{ROOT}/plugins", "HOME": str(tmp_path)},
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    counted = count_tokens(plan)
    assert json.loads(answer.stdout.splitlines()[-1]) == [counted.rows, counted.total, counted.longest]
