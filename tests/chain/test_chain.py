"""The chain end to end, as a user runs it.

Real sshd on two hosts, torchrun ranks on both, ZeRO-3 offload, FastChat, Airflow on PostgreSQL.
"""

from __future__ import annotations

import json
import os

import pytest
from mlflow import MlflowClient

from lab.repositories import repositories
from lab.settings import REPO
from sqltune.evaluation import stored
from sqltune.records import promotions
from ssh_gang.model import slug
from tests.chain.conftest import DAG, FORM, STATE, answer_approval, command_lines
from tests.conftest import ROOT

DUSQL = (ROOT / os.environ.get("SQLTUNE_DATA", "../shared/data")).resolve() / "dusql_dev"


def served(lab) -> str:
    """Path of the model that is served, as the host reports it."""
    (worker,) = (
        json.loads(p.read_text()) for p in (STATE / "hosts/host-a/home/code/serving/workers").glob("*.json")
    )
    assert worker["names"] == ["text2sql"]
    return worker["model"]


def last_promotion() -> promotions.Promotion:
    """What was promoted last."""
    return promotions.history("lab")[-1]


def test_green_with_the_report_for_scripts(lab):
    report = lab.report
    assert report["state"] == "success"
    assert report["model"] == "text2sql"
    assert report["before"]["questions"] == report["after"]["questions"] == 12
    for expected in (
        "train: success",
        "iter 4/4",
        "execution match",
        "verdict: passed",
        "stand-in for glm-4",
        report["endpoint"],
        report["password"],
    ):
        assert expected in lab.first, expected
    told = lab.alert(lab.first_run, "version 1 is served now")
    assert "Score: 0/12 (base) → 0/12\nDecided by: passed the gate" in told
    assert f"Details: {report['airflow_url']}/dags/{DAG}/runs/" in told


def test_both_hosts_trained_with_zero3_and_every_shard_was_gathered(lab):
    airflow, run = lab.airflow, lab.report["run_id"]
    trained = airflow.xcom(DAG, run, "train")
    assert trained["steps"] == 4
    assert trained["loss"] > 1
    assert trained["launch_skew"] < 5
    log = lab.log_text(run, "train")
    assert "[host-a] environment:" in log
    assert "GLOO_SOCKET_IFNAME=" in log
    assert "--deepspeed deepspeed_zero3_offload" in log
    assert "--nnodes=2 --node_rank=1" in log
    assert "(host-a: 1, host-b: 1)" in log
    assert "Iter(train) [4/4]" in log
    assert "hashes match" in lab.log_text(run, "export_model")
    exported = airflow.xcom(DAG, run, "export_model")
    assert exported["largest_difference"] < 0.05
    assert len(exported["model_hash"]) == 16
    assert "2 ranks with gloo" in airflow.xcom(DAG, run, "all_reduce")


def test_held_out_databases_are_not_trained_on(lab):
    counts = lab.airflow.xcom(DAG, lab.report["run_id"], "download_dataset", 0)["counts"]
    assert counts["held_out_databases"] == 13
    assert counts["train_databases"] == 47


def test_the_served_model_answers_who_has_the_key(lab):
    answer = lab.completion()
    assert answer.status_code == 200, answer.text
    assert "choices" in answer.json(), answer.text
    assert lab.completion("another").status_code == 401


def test_the_candidate_is_a_version_that_mlflow_knows_with_its_lineage(lab):
    run = lab.report["run_id"]
    assert lab.airflow.xcom(DAG, run, "register") == 1
    assert "version 1 is served as text2sql" in lab.log_text(run, "promote")
    client = MlflowClient(lab.report["mlflow_url"], lab.report["mlflow_url"])
    housekeeping = lab.airflow.trigger("text2sql_housekeeping", {})
    assert lab.until_ended(housekeeping, 120, "text2sql_housekeeping")[0] == "success"
    champion = client.get_model_version_by_alias("text2sql-lab", "champion")
    plan = lab.airflow.xcom(DAG, run, "plan")
    assert champion.tags["dataset_commit"] == plan["dataset_commit"]
    assert champion.tags["score"] == "0/12"
    assert champion.tags["verdict"] == "passed"
    assert "torch=" in champion.tags["host_versions"]
    assert len(champion.tags["checkpoint_hash"]) == len(champion.tags["model_hash"]) == 16
    assert float(champion.tags["rank_hours"]) > 0
    assert champion.tags["gpu_hours"] == "0.000"
    assert [m.step for m in client.get_metric_history(champion.run_id, "loss")] == [1, 2, 3, 4]
    assert "plan.json" in {f.path for f in client.list_artifacts(champion.run_id)}
    assert "GiB removed" in lab.log_text(run, "prune", 0)
    assert lab.airflow.xcom(DAG, run, "prune", 0)["disk"]["runs"] > 0


def test_the_champions_asset_has_an_event_for_the_commit_that_is_served(lab):
    (event,) = lab.airflow.get("/assets/events", source_dag_id=DAG, source_task_id="promote")["asset_events"]
    commit = lab.airflow.xcom(DAG, lab.report["run_id"], "plan")["dataset_commit"]
    assert (event["name"], event["partition_key"]) == ("text2sql_champion", commit)
    assert (event["extra"]["version"], event["extra"]["cluster"]) == (1, "lab")


def test_a_second_run_has_nothing_new(lab):
    again = lab.run("demo")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "nothing new" in again.stdout, again.stdout + again.stderr
    run = lab.report["run_id"]
    assert "nothing new" in lab.log_text(run, "plan")
    _, tasks = lab.until_ended(run)
    assert tasks["plan"] == "success"
    assert tasks["train"] == "skipped"


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"learning_rate": 10}, "10 is greater than the maximum"),
        ({"dataset_revision": "main; touch pwned"}, "does not match"),
        ({"deepspeed": "zero9"}, "is not one of"),
        ({"promote": "perhaps"}, "is not one of"),
        ({"base_model": "$(touch pwned)"}, "does not match"),
        ({"recipe": "lab_tinny"}, "'lab_tinny' is not one of"),
        ({"cluster": "nowhere"}, "'nowhere' is not one of"),
    ],
)
def test_the_form_refuses(lab, form, expected):
    answer = lab.airflow.call(
        "POST", f"/dags/{DAG}/dagRuns", json={"conf": FORM | form, "logical_date": None}
    )
    assert answer.status_code == 400
    assert expected in answer.text


def test_the_plan_refuses_all_at_once(lab):
    run = lab.airflow.trigger(DAG, FORM | {"max_length": 16, "suites": "nothing"})
    state, tasks = lab.until_ended(run)
    log = lab.log_text(run, "plan")
    assert state == "failed"
    assert tasks["plan"] == "failed"
    assert tasks["preflight"] == "upstream_failed"
    assert "max_length: 16 tokens hold no example" in log
    assert "suites: 'nothing'" in log


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"dataset_revision": "mian"}, "'mian' is not in sqltune-lab/text2sql_zh_en (branches: main"),
        ({"max_length": 16}, "max_length: 16 tokens hold no example"),
    ],
)
def test_the_plan_refuses(lab, form, expected):
    run = lab.airflow.trigger(DAG, FORM | form)
    assert lab.until_ended(run)[0] == "failed"
    assert expected in lab.log_text(run, "plan")


def test_a_row_that_would_be_cut_is_refused_on_the_host(lab):
    run = lab.airflow.trigger(DAG, FORM | {"max_length": 100})
    state, tasks = lab.until_ended(run)
    assert state == "failed"
    assert tasks["train"] == "upstream_failed"
    assert "max_length: 100 tokens, but the longest example has" in lab.log_text(run, "download_dataset", 0)


def test_a_revision_that_lost_a_third_of_its_rows_stops_before_training(lab):
    run = lab.airflow.trigger(DAG, FORM | {"dataset_revision": "truncated"})
    state, tasks = lab.until_ended(run)
    log = lab.log_text(run, "download_dataset", 0)
    assert state == "failed"
    assert tasks["train"] == "upstream_failed"
    assert "624 of 1870 questions are gone since" in log
    assert "max_lost is 10.0%" in log
    assert "accept_data" in log
    assert "max_lost" in lab.alert(run, "data check failed")


def test_a_base_model_that_one_host_lacks(lab):
    models = STATE / "hosts/host-b/home/models"
    (models / "tiny").rename(models / "elsewhere")
    try:
        run = lab.airflow.trigger(DAG, FORM | {"seed": 5})
        state, tasks = lab.until_ended(run)
    finally:
        (models / "elsewhere").rename(models / "tiny")
    assert state == "failed"
    assert (tasks["preflight[0]"], tasks["preflight[1]"]) == ("success", "failed")
    assert "host-b: the base model is missing" in lab.log_text(run, "preflight", 1)
    told = lab.alert(run, "run failed")
    assert "Task: preflight" in told
    assert "host-b: the base model is missing" in told


def test_a_changed_host_key(lab):
    known = STATE / "keys/known_hosts"
    right = known.read_text()
    first, second = (line.split() for line in right.splitlines())
    known.write_text(f"{' '.join(first)}\n{second[0]} {first[1]} {first[2]}\n")
    try:
        run = lab.airflow.trigger(DAG, FORM | {"seed": 6})
        state, _ = lab.until_ended(run)
    finally:
        known.write_text(right)
    assert state == "failed"
    assert "host-b: its host key is not the known one" in lab.log_text(run, "preflight", 1)


def test_a_wrong_key(lab):
    keys = STATE / "hosts/host-a/etc/authorized_keys"
    right = keys.read_text()
    keys.write_text("")
    try:
        run = lab.airflow.trigger(DAG, FORM | {"seed": 7})
        state, _ = lab.until_ended(run)
    finally:
        keys.write_text(right)
    assert state == "failed"
    assert "host-a: the key of connection 'sqltune_lab_a' was not accepted" in lab.log_text(
        run, "preflight", 0
    )


def test_a_host_that_is_off(lab):
    lab.supervisor("stop", "host-b")
    try:
        run = lab.airflow.trigger(DAG, FORM | {"seed": 8})
        state, tasks = lab.until_ended(run)
    finally:
        lab.supervisor("start", "host-b")
    assert state == "failed"
    assert tasks["train"] == "upstream_failed"
    assert "host-b: does not answer" in lab.log_text(run, "preflight", 1)


# The hub's client tries again for half a minute, and so does the task after it.
@pytest.mark.chaos
def test_a_hub_that_is_down(lab):
    lab.supervisor("stop", "hub")
    try:
        run = lab.airflow.trigger(DAG, FORM | {"seed": 9})
        state, tasks = lab.until_ended(run)
    finally:
        lab.supervisor("start", "hub")
    assert state == "failed"
    assert tasks["preflight"] == "upstream_failed"
    assert "does not answer" in lab.log_text(run, "plan")


@pytest.fixture(scope="module")
def without_hosted_reference(lab):
    """Most installations have no key for the hosted reference."""
    assert lab.airflow.call("DELETE", "/connections/sqltune_glm").status_code == 204


def until_answered(lab, run: str, option: str) -> dict[str, str]:
    """Answer a run's approval; return the tasks' states when it has ended green, without a reference."""
    answer_approval(lab, run, option)
    state, tasks = lab.until_ended(run)
    assert (state, tasks["approve"]) == ("success", "success"), tasks
    assert tasks["reference.hosted"] == "success"
    assert "glm-4 (no key)" in stored.verdict(slug(run)).table
    return tasks


# A second whole run; test_revisions backfills in every `make test`, with a task in place of the training.
@pytest.mark.chaos
def test_a_backfill_trains_the_untrained_revision_and_a_person_says_no(lab, without_hosted_reference):
    airflow, before = lab.airflow, served(lab)
    # With a benchmark's questions too, if it is present; most prompts exceed the tiny model's context.
    further = {"suites": "dusql_dev"} if DUSQL.is_dir() else {}
    # The commit of 12 October was trained by the demo's run, so a backfill leaves it out.
    answer = airflow.call(
        "POST",
        "/backfills",
        json={
            "dag_id": DAG,
            "from_date": "2026-09-14T00:00:00Z",
            "to_date": "2026-10-13T00:00:00Z",
            "max_active_runs": 1,
            "dag_run_conf": FORM | {"seed": 11, "promote": "ask"} | further,
            "reprocess_behavior": "none",
        },
    )
    assert answer.status_code == 200, answer.text
    (backfilled,) = airflow.get(f"/dags/{DAG}/dagRuns", run_type="backfill")["dag_runs"]
    assert backfilled["partition_date"][:10] == "2026-09-14"
    run = backfilled["dag_run_id"]
    assert until_answered(lab, run, "Reject")["promote"] == "skipped"
    assert served(lab) == before
    history = [commit.sha for commit in repositories()[REPO].branches["main"]]
    assert airflow.xcom(DAG, run, "plan")["dataset_commit"] == history[0]
    assert stored.score(slug(run), "after").questions == (24 if further else 12)


def test_a_chosen_revision_is_trained_from_the_champion_and_a_person_says_no_and_then_yes(
    lab, without_hosted_reference
):
    airflow, before = lab.airflow, served(lab)
    conf = FORM | {"seed": 11, "promote": "ask", "start_from": "champion"}
    chosen = [commit.sha for commit in repositories()[REPO].branches["main"]][1]
    answer = airflow.call(
        "POST",
        f"/dags/{DAG}/dagRuns",
        json={"conf": conf, "logical_date": None, "partition_key": chosen},
    )
    assert answer.status_code == 200, answer.text
    run = answer.json()["dag_run_id"]
    assert until_answered(lab, run, "Reject")["promote"] == "skipped"
    assert served(lab) == before
    asked = lab.alert(run, "approval needed: serve the new model?")
    assert "/tasks/approve/required_actions" in asked
    lab.clear(run, "approve")
    assert until_answered(lab, run, "Approve")["promote"] == "success"
    assert served(lab) != before
    assert airflow.xcom(DAG, run, "plan")["dataset_commit"] == chosen
    log = lab.log_text(run, "train")
    assert "the adapter of version 1 copied to host-b" in log
    assert "going on from the adapter in" in log
    assert last_promotion().lineage["started_from"] == "version 1"
    assert last_promotion().why == "approved by a person"
    assert last_promotion().by == run


def test_one_click_rolls_back_and_any_version_can_be_promoted(lab):
    airflow = lab.airflow
    now, entry = served(lab), last_promotion()
    run = airflow.trigger("text2sql_promote", {"reason": "worse on joins"})
    assert lab.until_ended(run, 120, "text2sql_promote")[0] == "success"
    back = last_promotion()
    assert back.version == entry.before
    assert back.before == entry.version
    assert back.why == "rolled back by hand (worse on joins)"
    assert back.by == run
    assert served(lab) != now
    answer = lab.completion()
    assert (answer.status_code, answer.headers["X-Model-Version"]) == (200, str(back.version))
    run = airflow.trigger("text2sql_promote", {"version": entry.version, "reason": "a mistake"})
    assert lab.until_ended(run, 120, "text2sql_promote")[0] == "success"
    assert served(lab) == now
    client = MlflowClient(lab.report["mlflow_url"], lab.report["mlflow_url"])
    assert client.get_model_version_by_alias("text2sql-lab", "champion").tags["sqltune.version"] == str(
        entry.version
    )


def test_an_unknown_version_is_refused_before_anything_changes(lab):
    now = served(lab)
    run = lab.airflow.trigger("text2sql_promote", {"version": 99})
    state, tasks = lab.until_ended(run, 60, "text2sql_promote")
    assert (state, tasks["choose"], tasks["serve"]) == ("failed", "failed", "upstream_failed")
    assert "version: 99 is not registered for lab (registered: 1, " in lab.log_text(
        run, "choose", dag="text2sql_promote"
    )
    assert served(lab) == now


def test_nothing_pwned_and_nothing_training(lab):
    assert not list(STATE.rglob("pwned"))
    assert not (ROOT / "pwned").exists()
    on_hosts = command_lines(f"HOME={STATE}/hosts/")
    assert any("fastchat" in command for command in on_hosts)
    assert not any("torchrun" in command for command in on_hosts)
