"""Estimates on the page: of a run beside what it took, and of one that is not triggered yet."""

from __future__ import annotations

import json
import re
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import expect

from sqltune.config.plan import RunPlan
from sqltune.estimate.estimating import FASTEST_FIRST, estimate
from sqltune.estimate.model import Tokens
from sqltune.node_contracts.preflight import PreflightResponse
from sqltune.records import checkups, runs, strategies, token_counts
from sqltune.records.measured_strategy import MeasuredStrategy
from sqltune.ui.app import create_app
from tests.host_facts import measured
from tests.plans import run_plan
from tests.sqltune.estimate.earlier import put_training
from tests.sqltune.estimate.test_memory import CODELLAMA

ROWS = Tokens(rows=100, total=11_900, longest=200, basis="counted")


@pytest.fixture
def api(records) -> TestClient:
    return TestClient(create_app(), base_url="http://page/api/v1")


def get(api, path, **query):
    response = api.get(path, params=query)
    assert response.status_code == 200, response.text
    return response.json()


def put_estimated(run_id: str, *, trained: bool) -> None:
    """Record a run with its estimate, by an earlier one of 10 steps; and that it trained."""
    plan = run_plan(run_id)
    plan = plan.model_copy(update={"training": plan.training.model_copy(update={"max_steps": 10})})
    put_training(run_plan(f"{run_id}-before"), seconds_per_step=5, steps=10)
    runs.put_plan(plan)
    made = estimate(plan, ROWS)
    if trained:
        put_training(plan, seconds_per_step=6, steps=10)
    runs.put_estimate(plan.key, made.model_dump(mode="json"))


def put_strategies(plan: RunPlan) -> None:
    """Record that one strategy was measured, and that another failed."""
    strategies.put(plan, MeasuredStrategy(strategy="zero2", seconds_per_iteration=0.5))
    failed = MeasuredStrategy(strategy="zero1", seconds_per_iteration=None, error="CUDA out of memory")
    strategies.put(plan, failed)


def put_cards(run_id: str = "p0") -> None:
    """Record that preflight saw the production recipe's model and cards of 16 GiB."""
    runs.put_plan(
        run_plan(
            run_id,
            recipe_file="codellama_7b_rocm",
            cluster_file="rocm_2x4",
            base_model="/dataset/CodeLlama-7b-hf/",
        )
    )
    facts = measured(architecture=CODELLAMA, gpus=["card, 16384 MiB"])
    checkups.put(run_id, "rocm-0", PreflightResponse(facts=facts, checks=[]))


def test_a_run_has_its_estimate_beside_what_it_took(api):
    put_estimated("r1", trained=True)
    answer = get(api, "/runs/r1/estimate")
    assert (answer["estimate"]["iterations"], answer["taken"]["iterations"]) == (10, 10)
    assert answer["taken"]["seconds"] / answer["estimate"]["seconds"] == pytest.approx(138 / 130, rel=0.01)


def test_a_run_that_has_not_ended_has_taken_nothing(api):
    put_estimated("r1", trained=False)
    assert get(api, "/runs/r1/estimate")["taken"] is None


def test_a_run_of_an_earlier_version_has_no_estimate(api):
    runs.put_plan(run_plan("r1"))
    assert get(api, "/runs/r1/estimate") == {"estimate": None, "taken": None, "strategies": []}


def test_a_run_with_probe_has_the_strategies_and_the_one_that_was_used(api):
    plan = run_plan("r1")
    plan = plan.model_copy(update={"training": plan.training.model_copy(update={"probe": True})})
    put_training(plan, strategy="zero2")
    put_strategies(plan)
    answer = get(api, "/runs/r1/estimate")
    assert answer["taken"]["strategy"] == "zero2"
    assert [(s["strategy"], s["seconds_per_iteration"], s["error"]) for s in answer["strategies"]] == [
        ("zero1", None, "CUDA out of memory"),
        ("zero2", 0.5, ""),
    ]


def test_a_run_without_probe_has_no_strategies(api):
    put_estimated("r1", trained=False)
    put_strategies(run_plan("r1"))
    assert get(api, "/runs/r1/estimate")["strategies"] == []


def test_a_new_run_is_estimated_with_the_fastest_strategy(api):
    plan = run_plan("r0", base_model="~/models/tiny")
    for number, strategy in enumerate(FASTEST_FIRST):
        measured = MeasuredStrategy(strategy=strategy, seconds_per_iteration=1.0 + number)
        strategies.put(plan, measured)
    answer = get(api, "/estimate", recipe="lab_tiny", cluster="lab", probe=True)
    assert answer["estimate"]["strategy"] == FASTEST_FIRST[0]
    assert answer["estimate"]["rate"]["basis"] == "probe"


def test_a_cluster_without_gpus_took_no_gpu_hours(api):
    put_estimated("r1", trained=True)
    assert get(api, "/runs/r1/estimate")["taken"]["gpu_hours"] is None


def test_choices_are_the_files_and_the_forms_defaults(api, monkeypatch):
    monkeypatch.setenv("SQLTUNE_RECIPE", "lab_tiny")
    answer = get(api, "/choices")
    assert (answer["recipe"], answer["cluster"]) == ("lab_tiny", "lab")
    assert {"name": "lab_tiny", "description": "a tiny random Llama, for tests of the chain"} in answer[
        "recipes"
    ]
    assert [preset["name"] for preset in answer["presets"]] == ["quick_look", "nightly", "full"]


def test_a_cluster_that_cannot_be_read_says_why_among_the_choices(api, monkeypatch, tmp_path):
    import shutil

    from sqltune.config import paths

    copy = shutil.copytree(paths.CONFIGS, tmp_path / "configs")
    (copy / "clusters" / "broken.yaml").write_text("work_dir: ${NOT_SET_ANYWHERE}\n")
    monkeypatch.setattr(paths, "CONFIGS", copy)
    broken = next(c for c in get(api, "/choices")["clusters"] if c["name"] == "broken")
    assert "${NOT_SET_ANYWHERE} is not set" in broken["description"]


def test_a_new_run_is_estimated_from_the_rows_counted_last(api):
    plan = run_plan("r1", base_model="~/models/tiny", dataset_repo="sqltune-lab/text2sql_zh_en")
    token_counts.put(token_counts.key_of(plan), 100, 11_900, 200)
    answer = get(api, "/estimate", recipe="lab_tiny", cluster="lab", preset="full")
    assert answer["estimate"]["tokens"]["basis"] == "other_commit"
    # Three epochs of 100 rows on two ranks, two rows at a time.
    assert answer["estimate"]["iterations"] == 75
    assert (answer["promote"], answer["mistakes"]) == ("ask", [])


def test_a_field_wins_over_the_preset(api):
    answer = get(api, "/estimate", recipe="lab_tiny", cluster="lab", preset="full", max_steps=7)
    assert answer["estimate"]["iterations"] == 7


@pytest.mark.parametrize(
    ("query", "mistake"),
    [
        ({"recipe": "nothing"}, "recipe: 'nothing' does not exist"),
        ({"cluster": "../secrets"}, "cluster: '../secrets' is not allowed"),
        ({"preset": "slow"}, "preset: 'slow' does not exist"),
        ({"deepspeed": "zero9"}, "deepspeed: 'zero9' is not allowed"),
    ],
)
def test_mistakes_are_those_of_plan(api, query, mistake):
    answer = get(api, "/estimate", **query)
    assert answer["mistakes"][0].startswith(mistake)
    assert answer["estimate"] is None


def test_a_plan_that_cannot_fit_is_said_to_be_refused(api, monkeypatch):
    put_cards()
    monkeypatch.setattr("sqltune.estimate.memory.LOGIT_BYTES", 400)
    answer = get(api, "/estimate", recipe="codellama_7b_rocm", cluster="rocm_2x4")
    assert "needs about" in answer["mistakes"][0]
    assert answer["estimate"]["memory"]


def test_a_run_shows_its_estimate_beside_what_it_took(site, open_page):
    put_estimated("estimated", trained=True)
    page = site.show(open_page, "estimated")
    section = page.get_by_role("region", name="Estimate")
    expect(section.get_by_role("row", name=re.compile("^Training time"))).to_contain_text(
        "2 min 10 s2 min 18 s+6 %"
    )
    expect(section).to_contain_text("By earlier runs of this recipe on this cluster (1).")


def test_a_run_with_probe_shows_the_strategies(site, open_page):
    plan = run_plan("probed")
    plan = plan.model_copy(update={"training": plan.training.model_copy(update={"probe": True})})
    put_training(plan, strategy="zero2")
    put_strategies(plan)
    page = site.show(open_page, "probed")
    table = page.get_by_role("table", name="Strategies as measured on this cluster")
    expect(table.get_by_role("row", name="zero2 0.500")).to_have_attribute("aria-current", "true")
    expect(table.get_by_role("row", name="zero1 CUDA out of memory")).to_have_attribute(
        "aria-current", "false"
    )


def test_a_run_of_an_earlier_version_says_that_it_has_none(site, open_page):
    page = site.show(open_page, "whole")
    expect(page.get_by_role("region", name="Estimate")).to_contain_text("an earlier version planned this run")


def test_new_run_shows_what_it_would_take_and_the_values_for_the_form(site, open_page):
    put_cards()
    page = site.show(open_page)
    page.get_by_role("button", name="New run").click()
    panel = page.get_by_role("region", name="New run")
    panel.get_by_label("Recipe").select_option("codellama_7b_rocm")
    panel.get_by_label("Cluster").select_option("rocm_2x4")
    panel.get_by_label("Preset").select_option("quick_look")
    expect(panel).to_contain_text("evaluated, and not served")
    expect(panel.get_by_role("row", name=re.compile("^Iterations"))).to_contain_text("20")
    expect(panel).to_contain_text("zero3_offload is 4.8 to 15.8 times slower than zero2, which fits:")
    panel.get_by_text("Memory on a GPU by strategy").click()
    expect(panel.get_by_role("row", name=re.compile("^zero2 "))).to_contain_text("fits")
    link = panel.get_by_role("link", name="Open the DAG")
    assert urlsplit(link.get_attribute("href")).path == "/dags/text2sql_retrain"
    assert json.loads(panel.get_by_label("Configuration JSON").text_content()) == {
        "recipe": "codellama_7b_rocm",
        "cluster": "rocm_2x4",
        "preset": "quick_look",
    }


def test_new_run_says_why_there_is_no_estimate(site, open_page):
    page = site.show(open_page)
    page.route(
        "**/api/v1/estimate?*", lambda route: route.fulfill(status=503, json={"detail": "no database"})
    )
    page.get_by_role("button", name="New run").click()
    alert = page.get_by_role("region", name="New run").get_by_role("alert")
    expect(alert).to_have_text("No estimate: no database")


def test_new_run_in_chinese(site, open_page):
    page = site.show(open_page, locale="zh-CN")
    page.get_by_role("button", name="新建运行").click()
    expect(page.get_by_role("region", name="新建运行")).to_contain_text("预估值")
