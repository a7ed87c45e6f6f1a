"""The command line, as a person types it."""

from __future__ import annotations

import json

import pytest
from fastapi import FastAPI, Request
from typer.testing import CliRunner

from sqltune.cli import app
from sqltune.records import database, runs
from tests.conftest import serving
from tests.plans import run_plan
from tests.sqltune.evaluation.builders import score_of, store

CONTEXT = "CREATE TABLE head (age INTEGER)"
AWKWARD = "CREATE TABLE 省份 (GDP总计(亿) INTEGER)"


def run(*arguments: object, **options: object):
    return CliRunner().invoke(app, [str(a) for a in arguments], **options)


@pytest.mark.parametrize(
    "command", ["score", "explain", "audit", "normalise", "ask", "served", "versions", "migrate"]
)
def test_help_describes_every_option(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert command in result.output


def test_score_prints_json_for_scripts(tmp_path):
    gold = tmp_path / "gold.jsonl"
    gold.write_text(
        json.dumps({"question": "q", "context": CONTEXT, "answer": "SELECT age FROM head"}) + "\n"
    )
    predictions = tmp_path / "predictions.txt"
    predictions.write_text("SELECT head.age FROM head\n")
    result = run("score", gold, predictions, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["matched"] == 1


def test_score_refuses_a_wrong_number_of_predictions(tmp_path):
    gold = tmp_path / "gold.jsonl"
    gold.write_text(
        json.dumps({"question": "q", "context": CONTEXT, "answer": "SELECT age FROM head"}) + "\n"
    )
    predictions = tmp_path / "predictions.txt"
    predictions.write_text("SELECT 1\nSELECT 2\n")
    result = run("score", gold, predictions)
    assert result.exit_code == 2
    assert "1 rows" in result.output


@pytest.fixture
def ages(tmp_path):
    """A gold file of one question, and a wrong prediction."""
    gold, predictions = tmp_path / "gold.jsonl", tmp_path / "predictions.txt"
    gold.write_text(
        json.dumps({"question": "Who?", "context": CONTEXT, "answer": "SELECT age FROM head"}) + "\n"
    )
    predictions.write_text("SELECT age + 1 FROM head\n")
    return gold, predictions


def test_explain_shows_the_rows_on_which_a_prediction_is_wrong(ages):
    result = run("explain", *ages)
    assert result.exit_code == 0, result.output
    assert "answer: Here the gold query returns" in result.output
    assert "head" in result.output


def test_explain_prints_json_for_scripts(ages):
    result = run("explain", *ages, "--json")
    assert result.exit_code == 0, result.output
    explained = json.loads(result.output)
    assert explained["answers"]["answer"]["witness"]["tables"][0]["name"] == "head"


def test_explain_reads_the_answers_of_a_run(records):
    runs.put_plan(run_plan())
    for phase in ("before", "after"):
        store("r1", phase, score_of(2))
    result = run("explain", "--run", "r1", "-q", "q001", "--json")
    assert result.exit_code == 0, result.output
    assert list(json.loads(result.output)["answers"]) == ["before", "after"]


def test_explain_names_a_run_that_is_not_recorded(records):
    result = run("explain", "--run", "nowhere")
    assert result.exit_code == 1
    assert "nowhere" in result.output


@pytest.mark.parametrize("arguments", [[], ["gold.jsonl"], ["gold.jsonl", "p.txt", "--run", "r1"]])
def test_explain_wants_files_or_a_run(arguments):
    result = run("explain", *arguments)
    assert result.exit_code == 2
    assert "GOLD and PREDICTIONS" in result.output


def test_audit_names_a_doubtful_gold_query(tmp_path):
    file = tmp_path / "rows.jsonl"
    row = {"question": "How old?", "context": CONTEXT, "answer": "SELECT oops FROM head"}
    file.write_text(json.dumps(row) + "\n")
    result = run("audit", file)
    assert result.exit_code == 0, result.output
    assert "does_not_run: no such column: oops" in result.output
    assert "1 of 1 gold queries are doubtful" in result.output


def test_audit_refuses_what_is_neither_a_file_nor_a_suite():
    result = run("audit", "nowhere")
    assert result.exit_code == 2
    assert "'nowhere' is neither a file nor a suite" in result.output


def test_normalise_adds_the_sqlite_form(tmp_path):
    file = tmp_path / "rows.jsonl"
    row = {
        "question": "q",
        "context": CONTEXT,
        "answer": "(SELECT age FROM head) UNION (SELECT age FROM head)",
    }
    file.write_text(json.dumps(row) + "\n")
    result = run("normalise", file)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.splitlines()[0])["answer_sqlite"] == (
        "SELECT age FROM head UNION SELECT age FROM head"
    )


def test_ask_prints_the_answer_of_the_served_model():
    api = FastAPI()
    prompts = []

    @api.post("/v1/completions")
    async def complete(request: Request) -> dict[str, object]:
        prompts.append((await request.json())["prompt"])
        return {"choices": [{"text": " SELECT count(*) FROM head "}]}

    with serving(api) as url:
        result = run("ask", "多少人？", "--context", CONTEXT, "--url", f"{url}/v1")
    assert result.exit_code == 0, result.output
    assert result.output.strip() == "SELECT count(*) FROM head"
    assert CONTEXT in prompts[0]


def test_ask_quotes_names_as_training_does():
    api = FastAPI()
    prompts = []

    @api.post("/v1/completions")
    async def complete(request: Request) -> dict[str, object]:
        prompts.append((await request.json())["prompt"])
        return {"choices": [{"text": "SELECT 1"}]}

    with serving(api) as url:
        run("ask", "q", "--context", AWKWARD, "--url", f"{url}/v1")
    assert '"GDP总计(亿)" INTEGER' in prompts[0]


def test_ask_names_an_unknown_cluster():
    result = run("ask", "q", "--context", CONTEXT, "--cluster", "nowhere")
    assert result.exit_code == 1
    assert "nowhere" in result.output


def test_served_refuses_what_is_no_moment(records):
    result = run("served", "--at", "yesterday")
    assert result.exit_code == 2
    assert "yesterday" in result.output


def test_served_exits_with_1_where_nothing_was_served(records):
    result = run("served", "--at", "2026-11-24 14:03")
    assert result.exit_code == 1


def test_migrate_creates_the_database(empty_database):
    result = run("migrate")
    assert result.exit_code == 0, result.output
    assert result.output.strip() == f"The records have schema {database.HEAD}."


def test_migrate_imports_the_files_of_version_0_1(empty_database, tmp_path):
    champion = {"version": 3, "merged_path": "/old", "model_hash": "old"}
    (tmp_path / "champion-lab.json").write_text(json.dumps(champion))
    result = run("migrate", "--from-files", tmp_path)
    assert result.exit_code == 0, result.output
    assert "Imported 0 versions and 1 promotions of lab." in result.output


def test_migrate_says_that_a_folder_has_nothing_to_import(empty_database, tmp_path):
    result = run("migrate", "--from-files", tmp_path)
    assert result.exit_code == 0, result.output
    assert "Imported nothing" in result.output


def test_migrate_refuses_to_import_from_a_folder_that_does_not_exist(empty_database, tmp_path):
    result = run("migrate", "--from-files", tmp_path / "none")
    assert result.exit_code == 2
    assert "'--from-files'" in result.output


def test_migrate_names_a_server_that_does_not_answer_and_hides_its_password(monkeypatch, tmp_path):
    monkeypatch.setenv("SQLTUNE_DATABASE_URL", f"postgresql+psycopg2://me:secret@/records?host={tmp_path}")
    result = run("migrate")
    assert result.exit_code == 1
    assert result.output.startswith("SQLTUNE_DATABASE_URL: postgresql+psycopg2://me:***@/records")
    assert len(result.output.splitlines()) == 1


def test_migrate_refuses_what_is_no_database_url(monkeypatch):
    monkeypatch.setenv("SQLTUNE_DATABASE_URL", "secret")
    result = run("migrate")
    assert result.exit_code == 1
    assert result.output.startswith("SQLTUNE_DATABASE_URL is not a SQLAlchemy URL")
    assert "secret" not in result.output


def test_migrate_names_a_sqlite_file_that_cannot_be_created(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SQLTUNE_DATABASE_URL", f"sqlite:///{tmp_path}/file/records.db")
    result = run("migrate")
    assert result.exit_code == 1
    assert result.output.startswith(
        f"SQLTUNE_DATABASE_URL: sqlite:///{tmp_path}/file/records.db cannot be used"
    )


@pytest.mark.parametrize("command", ["served", "versions"])
def test_an_unmigrated_database_is_named_in_one_line(empty_database, command):
    result = run(command)
    assert result.exit_code == 1
    assert result.output.strip().endswith("run: sqltune migrate")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("served", "nothing was served on nowhere so far"),
        ("versions", "no version is registered for nowhere"),
    ],
)
def test_a_cluster_without_versions_is_said_to_have_none(records, command, message):
    result = run(command, "--cluster", "nowhere")
    assert result.exit_code == 0
    assert result.output.strip() == f"{message} (cluster files: gpu_2x4, lab, rocm_2x4)"


def test_normalise_names_a_database_that_does_not_exist(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"answer": "SELECT 1", "db_id": "none"}) + "\n")
    result = run("normalise", file, "--databases", tmp_path)
    assert result.exit_code == 1
    assert f"{tmp_path / 'none.sqlite'} does not exist" in result.output
