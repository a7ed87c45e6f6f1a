"""A training goes on from the champion's adapter only where that fits what is to be trained."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

import pytest

from sqltune.config import paths
from sqltune.config.plan import RunPlan
from sqltune.errors import ConfigError
from sqltune.records import promotions, runs, versions
from sqltune.tasks.planning import make_plan
from tests.plans import run_plan

FROM_CHAMPION = {"recipe": "lab_tiny", "start_from": "champion"}
LINEAGE = {"adapter": "~/code/runs/r1/adapter", "adapter_hash": "ada9"}


@pytest.fixture
def plan(hub, records, monkeypatch):
    """Makes a plan of a form that asks to go on from the champion."""
    monkeypatch.setenv("SQLTUNE_LAB_HUB", hub)

    def made(**form: object) -> RunPlan:
        return make_plan(FROM_CHAMPION | form, "manual__2", datetime(2026, 11, 1, tzinfo=UTC), "code1")

    return made


@pytest.fixture
def serve(plan):
    """Makes a trained version the champion."""

    def served(lineage: dict[str, str] = LINEAGE, host: str = "host-a", **changes: object) -> None:
        trained = run_plan(base_model="~/models/tiny").model_copy(update=changes)
        runs.put_plan(trained)
        version = versions.register(
            "lab",
            trained.run_id,
            run_key=trained.key,
            host=host,
            merged_path="/home/r1/merged",
            model_hash="m0de1",
            dtype="bfloat16",
            lineage=lineage,
        )
        promotions.promote(version, "passed", trained.run_id)

    return served


def trained_with(**changes: object) -> dict[str, object]:
    """The champion's plan with other training settings, or another recipe."""
    plan = run_plan()
    training = {name: changes.pop(name) for name in [*changes] if name in type(plan.training).model_fields}
    return {
        "training": plan.training.model_copy(update=training),
        "recipe": plan.recipe.model_copy(update=changes),
    }


def test_training_goes_on_from_the_champions_adapter(plan, serve):
    serve()
    start = plan().start
    assert (start.version, start.host, start.path, start.digest) == (1, "host-a", *LINEAGE.values())


def test_the_first_run_starts_from_the_base_model(plan):
    assert plan().start is None


def test_a_champion_changes_nothing_of_a_run_that_starts_from_the_base_model(plan, serve):
    serve()
    assert plan(start_from="base").start is None


def test_a_promotion_does_not_make_the_commit_new_that_it_came_from(plan, serve):
    before = plan()
    serve()
    assert plan().fingerprint == before.fingerprint


def test_a_checkpoint_that_began_elsewhere_is_not_resumed_from(plan, serve):
    before = plan()
    serve()
    assert plan().checkpoint_fingerprint != before.checkpoint_fingerprint


@pytest.mark.parametrize(
    ("champion", "expected"),
    [
        ({"base_model": "~/models/other"}, r"base_model ~/models/other, and this run has ~/models/tiny"),
        (
            trained_with(lora_rank=8),
            r"lora_rank 8, and this run has 4: set lora_rank to 8, or set start_from",
        ),
        (trained_with(xtuner_config="mine.py"), r"xtuner_config mine.py, and this run has lab_lora.py"),
        (
            trained_with(held_out_percent=10),
            r"held_out_percent 10, .* has 20: it has seen questions that are",
        ),
        ({"lineage": {}}, r"the adapter of version 1, which is served, is not on record: set start_from"),
        ({"host": "host-z"}, r"lies on host-z, which is not one of the cluster's hosts \(host-a, host-b\)"),
    ],
)
def test_an_adapter_that_does_not_fit_is_a_mistake(plan, serve, champion, expected):
    serve(**champion)
    with pytest.raises(ConfigError, match=f"start_from: .*{expected}"):
        plan()


def test_a_champion_that_held_more_out_has_seen_nothing_that_judges_it(plan, serve):
    serve(**trained_with(held_out_percent=30))
    assert plan().start is not None


def test_a_champion_whose_run_is_not_on_record_may_have_seen_anything(plan, serve, monkeypatch):
    serve()
    monkeypatch.setattr(runs, "plan", lambda key: None)
    with pytest.raises(ConfigError, match="start_from: the run that trained version 1 is not on record"):
        plan()


@pytest.mark.parametrize("lost", ['start_digest = ""', "AdapterFinetune"])
def test_a_config_that_cannot_go_on_from_an_adapter_is_a_mistake(plan, serve, monkeypatch, tmp_path, lost):
    serve()
    configs = shutil.copytree(paths.CONFIGS, tmp_path / "configs")
    config = configs / "xtuner/lab_lora.py"
    config.write_text(config.read_text().replace(lost, "SupervisedFinetune"))
    monkeypatch.setattr(paths, "CONFIGS", configs)
    with pytest.raises(ConfigError, match=r"start_from: lab_lora.py cannot go on from an adapter: it needs"):
        plan()


def test_a_config_that_is_missing_is_named_among_the_mistakes(plan, serve, monkeypatch, tmp_path):
    serve()
    configs = shutil.copytree(paths.CONFIGS, tmp_path / "configs")
    (configs / "xtuner/lab_lora.py").unlink()
    monkeypatch.setattr(paths, "CONFIGS", configs)
    with pytest.raises(ConfigError, match=r"recipe.xtuner_config: 'lab_lora.py' is not in") as caught:
        plan(max_length=16)
    assert "max_length: 16 tokens hold no example" in str(caught.value)
