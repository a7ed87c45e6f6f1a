"""The form becomes a plan: every mistake at once, loose names pinned. Against the lab's hub and the real huggingface_hub."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import pytest
from huggingface_hub.utils import http_backoff

from sqltune.config.plan import RunPlan
from sqltune.errors import ConfigError, HubUnreachable
from sqltune.tasks.planning import make_plan

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def plan(hub, records, monkeypatch):
    monkeypatch.setenv("SQLTUNE_LAB_HUB", hub)

    def made(as_of: datetime = NOW, **form: object) -> RunPlan:
        return make_plan(form, "manual__1", as_of, "code1")

    return made


def test_newest_commit_as_of_the_logical_date(plan):
    older, newer = plan(datetime(2026, 10, 1, tzinfo=UTC)), plan(NOW)
    assert older.dataset_date.startswith("2026-09-14")
    assert newer.dataset_date.startswith("2026-10-12")
    assert older.dataset_commit != newer.dataset_commit


def test_a_named_commit_wins_over_the_date(plan):
    old = plan(datetime(2026, 10, 1, tzinfo=UTC)).dataset_commit
    assert plan(NOW, dataset_revision=old[:12]).dataset_commit == old


def test_no_commit_that_early(plan):
    with pytest.raises(ConfigError, match="no commit as of 2026-01-01.*oldest is .* of 2026-09-14"):
        plan(datetime(2026, 1, 1, tzinfo=UTC))


def test_unknown_revision_lists_what_exists(plan):
    with pytest.raises(
        ConfigError, match=r"dataset_revision: 'mian' is not in .*branches: main.*newest commits"
    ):
        plan(dataset_revision="mian")


def test_unknown_repository(plan):
    with pytest.raises(ConfigError, match="dataset_repo: 'nobody/nothing' is not on"):
        plan(dataset_repo="nobody/nothing")


def test_hub_down_names_the_endpoint(plan, monkeypatch):
    monkeypatch.setenv("SQLTUNE_LAB_HUB", "http://127.0.0.1:9")
    # The client retries as often as ever, with shorter pauses.
    monkeypatch.setattr(
        "huggingface_hub.utils._pagination.http_backoff", partial(http_backoff, base_wait_time=0.01)
    )
    with pytest.raises(
        HubUnreachable, match="the hub at http://127.0.0.1:9 does not answer.*check hub_endpoint"
    ):
        plan()


def test_every_mistake_at_once(plan):
    with pytest.raises(ConfigError) as caught:
        plan(learning_rate=10, dataset_revision="main; touch pwned", cluster="nowhere", max_length=16)
    text = str(caught.value)
    assert "nothing was started" in text
    for field in (
        "learning_rate: 10",
        "dataset_revision: 'main; touch pwned'",
        "cluster: 'nowhere' does not exist (choices: ",
    ):
        assert field in text


def test_max_length_shorter_than_the_prompt(plan):
    with pytest.raises(ConfigError, match="max_length: 16 tokens hold no example"):
        plan(max_length=16)


@pytest.mark.parametrize("value", ["~/m; rm -rf x", "$(id)", "a b", "`id`", "x\ny", "-rf", "x\0y"])
def test_no_shell_characters_in_a_path(plan, value):
    with pytest.raises(ConfigError, match="base_model"):
        plan(base_model=value)


def test_epochs_on_the_form_win_over_the_recipes_steps(plan):
    training = plan(max_epochs=2).training
    assert (training.max_steps, training.max_epochs) == (None, 2)


def test_same_plan_same_fingerprint_and_any_change_another(plan):
    assert plan().fingerprint == plan().fingerprint
    assert (
        len(
            {
                plan().fingerprint,
                plan(seed=1).fingerprint,
                plan(learning_rate=1e-4).fingerprint,
                plan(base_model="~/other").fingerprint,
            }
        )
        == 4
    )
    assert plan(force=True).fingerprint == plan(promote="hold").fingerprint == plan().fingerprint


def test_a_plan_survives_json(plan):
    assert RunPlan.model_validate(plan().model_dump(mode="json")) == plan()
