"""The form becomes a plan, against the lab's hub and the real huggingface_hub."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import pytest
from huggingface_hub.utils import http_backoff

from sqltune.config.loading import load_cluster, load_recipe
from sqltune.config.plan import RunPlan
from sqltune.config.spec import RunSpec
from sqltune.errors import ConfigError, HubUnreachable
from sqltune.evaluation import corrections
from sqltune.registry import versions
from sqltune.tasks import planning
from sqltune.tasks.planning import make_plan, suites_of
from tests.versions import registered

OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def plan(hub, records, monkeypatch):
    """Makes a plan of a form, as of a date."""
    monkeypatch.setenv("SQLTUNE_LAB_HUB", hub)

    def made(as_of: datetime = NOVEMBER, **form: object) -> RunPlan:
        return make_plan(form, "manual__1", as_of, "code1")

    return made


@pytest.mark.parametrize(("as_of", "date"), [(OCTOBER, "2026-09-14"), (NOVEMBER, "2026-10-12")])
def test_without_a_revision_the_newest_commit_as_of_the_date_is_pinned(plan, as_of, date):
    assert plan(as_of).dataset_date.startswith(date)


def test_a_named_commit_wins_over_the_date(plan):
    old = plan(OCTOBER).dataset_commit
    assert plan(NOVEMBER, dataset_revision=old[:12]).dataset_commit == old


def test_a_date_before_the_first_commit_names_the_oldest(plan):
    with pytest.raises(ConfigError, match=r"no commit as of 2026-01-01.*oldest is .* of 2026-09-14"):
        plan(datetime(2026, 1, 1, tzinfo=UTC))


def test_an_unknown_revision_lists_branches_and_newest_commits(plan):
    with pytest.raises(
        ConfigError, match=r"dataset_revision: 'mian' is not in .*branches: main.*newest commits"
    ):
        plan(dataset_revision="mian")


def test_an_unknown_repository_is_a_mistake(plan):
    with pytest.raises(ConfigError, match="dataset_repo: 'nobody/nothing' is not on"):
        plan(dataset_repo="nobody/nothing")


def test_an_unreachable_hub_is_named_with_its_setting(plan, monkeypatch):
    monkeypatch.setenv("SQLTUNE_LAB_HUB", "http://127.0.0.1:9")
    # The client retries as often as ever, with shorter pauses.
    monkeypatch.setattr(
        "huggingface_hub.utils._pagination.http_backoff", partial(http_backoff, base_wait_time=0.01)
    )
    with pytest.raises(
        HubUnreachable, match=r"the hub at http://127.0.0.1:9 does not answer.*check hub_endpoint"
    ):
        plan()


@pytest.mark.parametrize(
    "mistake",
    [
        "nothing was started",
        "learning_rate: 10",
        "dataset_revision: 'main; touch pwned'",
        "cluster: 'nowhere' does not exist (choices: ",
    ],
)
def test_every_mistake_is_named_at_once(plan, mistake):
    with pytest.raises(ConfigError) as caught:
        plan(learning_rate=10, dataset_revision="main; touch pwned", cluster="nowhere", max_length=16)
    assert mistake in str(caught.value)


def test_a_field_with_a_mistake_does_not_hide_those_of_other_fields(plan):
    with pytest.raises(ConfigError) as caught:
        plan(learning_rate=10, max_length=16, suites="nothing")
    for field in ("learning_rate: 10", "max_length: 16 tokens hold no example", "suites: 'nothing'"):
        assert field in str(caught.value)


def test_a_max_length_shorter_than_the_prompt_is_a_mistake(plan):
    with pytest.raises(ConfigError, match="max_length: 16 tokens hold no example"):
        plan(max_length=16)


@pytest.mark.parametrize("value", ["~/m; rm -rf x", "$(id)", "a b", "`id`", "x\ny", "-rf", "x\0y"])
def test_a_path_with_shell_characters_is_refused(plan, value):
    with pytest.raises(ConfigError, match="base_model"):
        plan(base_model=value)


def test_epochs_on_the_form_win_over_the_recipes_steps(plan):
    training = plan(max_epochs=2).training
    assert (training.max_steps, training.max_epochs) == (None, 2)


def test_steps_on_the_form_win_over_its_epochs(plan):
    assert plan(max_epochs=2, max_steps=20).training.max_steps == 20


def test_a_preset_wins_over_the_recipe(plan):
    quick = plan(preset="quick_look")
    assert (quick.training.max_steps, quick.eval_questions, quick.promote) == (20, 20, "hold")


def test_the_form_wins_over_the_preset(plan):
    quick = plan(preset="quick_look", eval_questions=40, promote="ask")
    assert (quick.training.max_steps, quick.eval_questions, quick.promote) == (20, 40, "ask")


def test_without_a_preset_a_passed_model_is_served(plan):
    assert plan().promote == "yes"


def test_an_unknown_preset_is_named_with_the_other_mistakes(plan):
    with pytest.raises(ConfigError) as caught:
        plan(preset="slow", learning_rate=10)
    assert "preset: 'slow' does not exist (choices: quick_look, nightly, full)" in str(caught.value)
    assert "learning_rate: 10" in str(caught.value)


def test_suites_of_the_form_replace_the_recipes():
    recipe = load_recipe("lab_tiny").model_copy(update={"suites": "a"})
    assert suites_of(RunSpec(suites="b, c"), recipe) == ["b", "c"]


def test_suites_of_the_recipe_are_taken_where_the_form_has_none():
    recipe = load_recipe("lab_tiny").model_copy(update={"suites": "a"})
    assert suites_of(RunSpec(), recipe) == ["a"]


def test_the_same_form_has_the_same_fingerprint(plan):
    assert plan().fingerprint == plan().fingerprint


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"learning_rate": 1e-4}, {"base_model": "~/other"}, {"start_from": "champion"}],
)
def test_a_change_of_the_training_changes_the_fingerprint(plan, change):
    assert plan(**change).fingerprint != plan().fingerprint


@pytest.mark.parametrize("change", [{"force": True}, {"promote": "hold"}, {"eval_questions": 20}])
def test_a_change_of_the_evaluation_keeps_the_fingerprint(plan, change):
    assert plan(**change).fingerprint == plan().fingerprint


def test_with_probe_the_strategy_does_not_change_the_fingerprint(plan):
    """The next night finds nothing new, whichever strategy was the fastest."""
    probing = plan(probe=True)
    assert probing.with_strategy("zero1").fingerprint == probing.with_strategy("zero3").fingerprint
    assert probing.fingerprint != plan().fingerprint


def test_with_probe_the_recipes_strategy_does_not_change_the_fingerprint(plan):
    made = plan(probe=True)
    recipe = made.recipe.training.model_copy(update={"deepspeed": "zero1"})
    other = made.model_copy(update={"recipe": made.recipe.model_copy(update={"training": recipe})})
    assert other.fingerprint == made.fingerprint


def test_with_probe_checkpoints_of_two_strategies_are_told_apart(plan):
    made = plan(probe=True)
    prints = {made.with_strategy(strategy).checkpoint_fingerprint for strategy in ("zero1", "zero2")}
    assert len(prints) == 2
    assert plan().checkpoint_fingerprint == plan().fingerprint


def test_a_plan_with_the_recipes_probe_is_as_the_recipe_whichever_strategy_was_the_fastest(plan):
    made = plan()
    probing = made.recipe.training.model_copy(update={"probe": True})
    recipe = made.recipe.model_copy(update={"training": probing})
    as_recipe = made.model_copy(update={"recipe": recipe, "training": probing})
    assert as_recipe.with_strategy("zero1").is_as_recipe
    assert not plan(probe=True).is_as_recipe


def test_a_strategy_beside_probe_is_named_with_the_other_mistakes(plan):
    with pytest.raises(ConfigError) as e:
        plan(probe=True, deepspeed="zero2", max_length=16)
    assert [mistake.partition(":")[0] for mistake in e.value.mistakes] == ["probe", "max_length"]
    assert "deepspeed is zero2" in e.value.mistakes[0]


def test_a_plan_survives_json(plan):
    assert RunPlan.model_validate(plan().model_dump(mode="json")) == plan()


def test_mistakes_in_the_corrections_are_named_before_anything_starts(plan, monkeypatch):
    def broken() -> None:
        raise ConfigError(["regression/corrections.yaml[1].author: is missing"])

    monkeypatch.setattr(corrections, "load", broken)
    with pytest.raises(ConfigError, match=r"corrections.yaml\[1\].author: is missing"):
        plan()


@pytest.mark.parametrize("adapters", ["merged", "unmerged"])
def test_a_champion_that_cannot_be_served_unmerged_is_named(plan, monkeypatch, adapters):
    """Before the training, which would have gone for nothing."""
    versions.promote(registered("r1"), "passed the gate", "r1")
    cluster = load_cluster("lab")
    serving = cluster.serving.model_copy(update={"adapters": adapters})
    changed = cluster.model_copy(update={"serving": serving})
    monkeypatch.setattr(planning, "load_cluster", lambda name: changed)
    if adapters == "merged":
        assert plan().champion.version == 1
        return
    with pytest.raises(ConfigError, match="unmerged, and the base model of version 1 is not on record"):
        plan()
