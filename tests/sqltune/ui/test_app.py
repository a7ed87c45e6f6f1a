"""The page's API over a recorded run."""

from __future__ import annotations

import shutil
from collections import Counter
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from sqltune.records import database
from sqltune.records.models import Run
from sqltune.ui.app import create_app
from tests.sqltune.ui.audited import DOUBTFUL, NUMBERS, ODD_IDS, record_audited
from tests.sqltune.ui.recorded import AFTER, BEFORE, GOLD, RUN_ID, record_run, record_training
from tests.sqltune.ui.sites import reading


@pytest.fixture
def api(records):
    return TestClient(create_app(), base_url="http://page/api/v1")


def get(api, path, **query):
    response = api.get(path, params=query)
    assert response.status_code == 200, response.text
    return response.json()


def test_the_list_of_runs_has_the_score_before_and_after(api, run):
    listed = get(api, "/runs")
    line = listed["runs"][0]
    assert listed["total"] == 1
    assert (line["key"], line["matched_before"], line["matched_after"]) == (run, 2, 2)


@pytest.mark.parametrize("by_run_id", [True, False])
def test_a_run_is_found_by_its_key_and_by_the_run_id_of_airflow(api, run, by_run_id):
    head = get(api, f"/runs/{quote(RUN_ID if by_run_id else run, safe='')}")
    assert (head["run_id"], head["state"], head["version"]) == (RUN_ID, "promoted", 1)


def test_the_head_says_where_the_training_stands(api, run):
    training = get(api, f"/runs/{run}")["training"]
    assert (training["attempt"], training["step"], training["total"]) == ("try2", 20, 20)


def test_the_head_has_gpu_hours_and_the_verdict_in_one_line(api, run):
    head = get(api, f"/runs/{run}")
    assert head["gpu_hours"] == 1.5
    assert head["verdict"].startswith("held back: ")


def test_a_run_that_has_only_a_plan_has_a_head(api):
    key = record_training(steps=1)
    assert get(api, f"/runs/{key}")["verdict"] is None


def test_an_unknown_run_is_not_found_and_the_answer_says_why(api):
    response = api.get("/runs/nothing")
    assert response.status_code == 404
    assert response.json()["detail"].startswith("run 'nothing' is not in the records")


def test_the_curves_name_the_first_step_of_each_attempt(api, run):
    series = get(api, f"/runs/{run}/series")
    assert series["attempts"] == {"try1": 1, "try2": 11}
    assert series["loss"]["values"][6] == 9.0


def test_reduced_curves_keep_the_spike(api, run):
    loss = get(api, f"/runs/{run}/series", points=10)["loss"]
    assert len(loss["steps"]) <= 10
    assert 7 in loss["steps"]


def test_after_a_cursor_come_only_newer_iterations(api):
    key = record_training(steps=12)
    cursor = get(api, f"/runs/{key}/series")["cursor"]
    record_training(steps=15)
    assert get(api, f"/runs/{key}/series", after=cursor)["loss"]["steps"] == [12, 13, 14, 15]


def test_a_cursor_without_news_stays(api, run):
    cursor = get(api, f"/runs/{run}/series")["cursor"]
    assert get(api, f"/runs/{run}/series", after=cursor)["cursor"] == cursor


def test_a_cursor_that_is_no_moment_is_refused(api, run):
    assert api.get(f"/runs/{run}/series", params={"after": "yesterday"}).status_code == 422


def test_each_gpu_has_its_samples(api, run):
    gpu = get(api, f"/runs/{run}/gpus")[0]
    assert (gpu["gpu"], gpu["use"], gpu["memory_total"]) == (0, [90.0], 16_000)


def test_each_host_has_its_state_and_the_names_of_its_logs(api, run):
    host = get(api, f"/runs/{run}/hosts")[0]
    assert (host["state"], host["logs"]) == ("running", [f"train.try1.{host['name']}"])


def test_a_log_ends_with_the_lines_that_were_asked_for(api, run):
    name = get(api, f"/runs/{run}/hosts")[0]["logs"][0]
    assert get(api, f"/runs/{run}/logs/{name}", lines=1)["text"] == "<script>alert(1)</script>"


def test_a_log_that_does_not_exist_is_not_found(api, run):
    assert api.get(f"/runs/{run}/logs/..%2F..%2Frecords.db").status_code == 404


def test_the_plan_is_a_list_of_settings(api, run):
    settings = {s["name"]: s["value"] for s in get(api, f"/runs/{run}/plan")["settings"]}
    assert settings["training.deepspeed"] == "zero3_offload"


def test_two_plans_differ_where_they_differ(api, run):
    other = record_training("other")
    settings = get(api, f"/runs/{run}/plan", against=other)["settings"]
    assert [s["name"] for s in settings if s["differs"]] == ["run_id"]


def test_the_comparison_counts_what_became_of_the_questions(api, run):
    buckets = get(api, f"/runs/{run}/comparison")["buckets"]
    assert buckets == {"gained": 1, "lost": 1, "both_right": 1, "both_wrong": 1}


def test_the_comparison_has_an_interval_of_each_score(api, run):
    low, high = get(api, f"/runs/{run}/comparison")["after"]["interval"]
    assert 0 < low < 0.5 < high < 1


def test_the_comparison_has_every_rule_of_the_gate(api, run):
    compared = get(api, f"/runs/{run}/comparison")
    assert compared["passed"] is False
    assert "enough_questions" in [rule["id"] for rule in compared["rules"]]


def test_a_comparison_before_the_evaluation_is_empty(api):
    key = record_training()
    compared = get(api, f"/runs/{key}/comparison")
    assert (compared["before"], compared["passed"], sum(compared["buckets"].values())) == (None, None, 0)


@pytest.mark.parametrize(
    ("shown", "names"),
    [
        ({"change": "gained"}, ["gained"]),
        ({"change": "lost"}, ["lost"]),
        ({"text": "MAX("}, ["wrong"]),
        ({"text": "%"}, []),
        ({"outcome": "match"}, ["kept", "gained"]),
    ],
)
def test_questions_are_filtered(api, run, shown, names):
    listed = get(api, f"/runs/{run}/questions", **shown)
    assert [q["id"] for q in listed["questions"]] == names


def test_a_question_has_the_three_queries(api, run):
    question = get(api, f"/runs/{run}/question", id="lost")
    assert (question["gold"], question["after"]["sql"]) == (GOLD["lost"], AFTER["lost"])
    assert question["change"] == "lost"


def test_the_history_has_versions_and_promotions(api, run):
    history = get(api, "/clusters/lab/history")
    assert [(v["number"], v["serving"], v["matched"]) for v in history["versions"]] == [(1, True, 2)]
    assert [(p["version"], p["run_key"]) for p in history["promotions"]] == [(1, run)]


def test_the_clusters_are_those_of_the_runs(api, run):
    assert get(api, "/clusters") == {"clusters": ["lab"]}


def test_no_route_changes_anything(api):
    methods = {method for route in create_app().routes for method in getattr(route, "methods", None) or ()}
    assert methods <= {"GET", "HEAD"}


def test_answers_may_not_be_used_as_a_document(api, run):
    headers = api.get("/runs").headers
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'self'"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_an_unmigrated_database_is_a_clear_503(monkeypatch, tmp_path):
    monkeypatch.setenv("SQLTUNE_DATABASE_URL", f"sqlite:///{tmp_path}/empty.db")
    response = TestClient(create_app()).get("/api/v1/runs")
    assert response.status_code == 503
    assert response.json()["detail"].endswith("run: sqltune migrate")
    database.close()


def test_the_frame_runs_only_scripts_of_its_own_address(api):
    response = api.get("http://page/frame")
    policy = response.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe-eval" not in policy


def test_the_built_app_is_open(api):
    assert api.get("http://page/static/sqltune.js").status_code == 200


def test_the_list_of_questions_has_no_schemas_and_no_whole_answers(api, run):
    line = get(api, f"/runs/{run}/questions")["questions"][0]
    assert "context" not in line
    assert "text" not in line["after"]


@pytest.mark.parametrize("part", ["", "/hosts", "/plan", "/comparison", "/report.html"])
def test_a_run_of_an_earlier_version_whose_plan_lacks_a_field_is_shown(api, run, part):
    with database.writing() as session:
        row = session.scalars(select(Run)).one()
        row.plan = {name: value for name, value in row.plan.items() if name != "installation"}
    assert api.get(f"/runs/{run}{part}").status_code == 200


@pytest.fixture
def two_runs(records):
    """Two runs on the same questions; the second candidate answers as the first run's champion did."""
    return record_run("first"), record_run("second", after=BEFORE)


def test_two_versions_are_compared_question_by_question(api, two_runs):
    first, second = two_runs
    listed = get(api, f"/runs/{second}/questions", against=first)
    assert {q["id"]: q["change"] for q in listed["questions"]} == {
        "kept": "both_right",
        "gained": "lost",
        "lost": "gained",
        "wrong": "both_wrong",
    }


def test_a_comparison_of_two_versions_has_the_difference_and_no_verdict(api, two_runs):
    first, second = two_runs
    compared = get(api, f"/runs/{second}/comparison", against=first)
    assert (compared["before"]["summary"]["matched"], compared["passed"], compared["rules"]) == (2, None, [])
    assert compared["paired"]["difference"] == 0


def test_one_question_of_two_versions_has_both_candidates_queries(api, two_runs):
    first, second = two_runs
    question = get(api, f"/runs/{second}/question", id="gained", against=first)
    assert (question["before"]["sql"], question["after"]["sql"]) == (AFTER["gained"], BEFORE["gained"])


def test_gpu_hours_have_a_price_where_the_cluster_file_has_one(api, run):
    with database.writing() as session:
        row = session.scalars(select(Run)).one()
        row.plan = row.plan | {"cluster": row.plan["cluster"] | {"gpu_hour_price": 2.0}}
    assert get(api, f"/runs/{run}")["price"] == 3.0
    assert get(api, "/clusters/lab/history")["versions"][0]["price"] == 3.0


def test_without_a_price_there_is_none(api, run):
    assert get(api, f"/runs/{run}")["price"] is None
    assert get(api, "/clusters/lab/history")["versions"][0]["price"] is None


def test_a_wrong_answer_is_explained_on_a_small_database(api, run):
    explained = get(api, f"/runs/{run}/explanation", id="lost")
    witness = explained["after"]["witness"]
    assert [table["name"] for table in witness["tables"]] == ["head"]
    assert witness["gold"]["rows"] != witness["answer"]["rows"]


def test_a_right_answer_and_one_that_does_not_run_have_no_witness(api, run):
    explained = get(api, f"/runs/{run}/explanation", id="wrong")
    assert (explained["before"]["outcome"], explained["before"]["witness"]) == ("invalid", None)
    assert get(api, f"/runs/{run}/explanation", id="kept")["after"]["witness"] is None


def test_an_explanation_of_an_unknown_question_is_not_found(api, run):
    assert api.get(f"/runs/{run}/explanation", params={"id": "nothing"}).status_code == 404


def test_a_wrong_answer_that_runs_has_its_error_class(api, run):
    after = get(api, f"/runs/{run}/question", id="lost")["after"]
    assert (after["outcome"], after["error_class"]) == ("mismatch", "function")


@pytest.fixture(scope="module")
def audited(tmp_path_factory, migrated_sqlite):
    """The API over a run with doubtful golds, reference prompts, odd ids: it is only read."""
    home = tmp_path_factory.mktemp("audited")
    shutil.copy(migrated_sqlite, home / "records.db")
    with reading(home):
        record_audited("audited")
        yield TestClient(create_app(), base_url="http://page/api/v1/runs/audited")


@pytest.mark.parametrize("name", ODD_IDS)
def test_a_question_of_any_id_is_found(audited, name):
    assert get(audited, "/question", id=name)["id"] == name


@pytest.mark.parametrize("name", ODD_IDS)
def test_a_question_of_any_id_is_explained(audited, name):
    assert get(audited, "/explanation", id=name)["after"]["outcome"] == "match"


def test_the_list_counts_what_the_comparison_counts(audited):
    counted = [q["change"] for q in get(audited, "/questions")["questions"] if q["left_out"] is None]
    assert Counter(counted) == Counter(NUMBERS)
    assert get(audited, "/comparison")["buckets"] == NUMBERS


@pytest.mark.parametrize("change", NUMBERS)
def test_a_filter_by_change_leaves_what_the_comparison_counts(audited, change):
    assert get(audited, "/questions", change=change)["total"] == NUMBERS[change]


def test_the_list_says_why_a_question_enters_no_number(audited):
    left_out = Counter(q["left_out"] for q in get(audited, "/questions")["questions"] if q["left_out"])
    assert left_out == {"reference_prompt": 3, "gold_does_not_run": 1}


def test_a_question_has_the_flags_of_its_gold_query(audited):
    (flag,) = get(audited, "/question", id="dated.1")["flags"]
    assert flag["reason"] == "unquoted_date"
    assert "2010-01-01" in flag["detail"]


def test_the_list_has_the_flags_too(audited):
    flagged = [q["id"] for q in get(audited, "/questions")["questions"] if q["flags"]]
    assert flagged == [*(f"dated.{day}" for day in range(1, DOUBTFUL + 1)), "broken"]


def test_the_comparison_stands_without_the_doubtful_golds_and_says_whether_the_verdict_hangs_on_them(audited):
    without = get(audited, "/comparison")["without_doubtful"]
    questions = sum(NUMBERS.values()) - DOUBTFUL
    assert (without["doubtful"], without["by_reason"]) == (DOUBTFUL, {"unquoted_date": DOUBTFUL})
    assert without["before"] == without["after"] == {"matched": questions - 2, "evaluated": questions}
    assert (without["paired"]["difference"], without["decisive"]) == (0, True)


def test_without_doubtful_golds_there_is_no_second_score(api, run):
    assert get(api, f"/runs/{run}/comparison")["without_doubtful"] is None


def test_each_side_has_counts_by_database(audited):
    compared = get(audited, "/comparison")
    counts = [compared[side]["by_database"]["shop_0"] for side in ("before", "after")]
    assert counts == [{"matched": 2, "evaluated": 2}, {"matched": 0, "evaluated": 2}]


def test_the_counts_by_database_are_those_of_the_score(audited):
    after = get(audited, "/comparison")["after"]
    assert sum(tally["matched"] for tally in after["by_database"].values()) == after["summary"]["matched"]
    assert sum(tally["evaluated"] for tally in after["by_database"].values()) == after["summary"]["questions"]


def test_a_question_in_the_list_has_the_clauses_of_its_gold_query(audited):
    question = get(audited, "/question", id="dated.1")
    assert (question["clauses"], question["database_name"]) == (["where"], "shop_2")
