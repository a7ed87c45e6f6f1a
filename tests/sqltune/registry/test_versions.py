"""Versions, champion and promotions; and a real MLflow server that receives them late."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from sqltune.errors import RegistryError
from sqltune.records import evaluations, promotions, runs, series, verdicts
from sqltune.records.evaluations import EvaluationRecord
from sqltune.registry import mlflow_mirror, versions
from ssh_gang.progress import Progress
from tests.conftest import BASE, free_port
from tests.plans import run_plan
from tests.versions import registered
from tests.waiting import wait_until

LINEAGE = {
    "dataset_repo": "team/data",
    "dataset_commit": "0123456789abcdef",
    "score": "74/100",
    "verdict": "passed",
    "base_model": "~/models/base",
    "gpu_hours": "1.5",
}


def made(run: str, cluster: str = "lab", **lineage: str) -> versions.Version:
    return registered(run, cluster, LINEAGE | lineage)


def test_candidates_are_numbered_for_each_cluster_and_a_retry_keeps_its_number(engine):
    registered = [made("r1"), made("r2"), made("r1", score="75/100"), made("g1", "gpu")]
    assert [v.number for v in registered] == [1, 2, 1, 1]
    assert [v.run_id for v in versions.versions("lab")] == ["r1", "r2"]
    assert versions.version("lab", 1).lineage["score"] == "75/100"


def test_an_unknown_version_is_an_error_that_names_the_registered_ones(engine):
    with pytest.raises(RegistryError, match=r"version: 7 is not registered for lab \(registered: none\)"):
        versions.version("lab", 7)
    made("r1")
    made("r2")
    with pytest.raises(RegistryError, match=r"version: 7 is not registered for lab \(registered: 1, 2\)"):
        versions.version("lab", 7)


def test_a_champion_that_is_no_registered_version_keeps_its_number(engine):
    old = made("r0", "elsewhere").model_copy(update={"cluster": "lab", "number": 3})
    versions.promote(old, "by hand", "somebody")
    new = made("r1")
    assert new.number == 4
    versions.promote(new, "passed the gate", "r1")
    assert versions.champion("lab").version == 4
    assert versions.history("lab")[-1].before == 3


def test_nothing_serves_before_the_first_promotion(engine):
    made("r1")
    assert versions.champion("lab") is None
    assert versions.served_at("lab", datetime.now(UTC)) is None
    with pytest.raises(RegistryError, match="nothing to roll back to"):
        versions.before("lab")


def test_the_first_champion_has_none_before_it(engine):
    versions.promote(made("r1"), "passed the gate", "r1")
    with pytest.raises(RegistryError, match="no other version was served on lab before version 1"):
        versions.before("lab")


def test_the_champion_and_the_one_before(engine):
    first, second = made("r1"), made("r2", score="80/100")
    versions.promote(first, "passed the gate", "r1")
    versions.promote(second, "passed the gate", "r2")
    versions.promote(second, "again, by a retry", "r2")
    assert versions.champion("lab") == second.champion
    assert versions.before("lab") == first
    versions.promote(first, "rolled back by hand (worse on joins)", "manual")
    # A second rollback returns to the newer version: it was served before the current champion.
    assert versions.champion("lab").version == 1
    assert versions.before("lab") == second
    assert [(p.version, p.before) for p in versions.history("lab")] == [(1, None), (2, 1), (1, 2)]


@pytest.fixture
def served(engine, monkeypatch):
    """Version 1 serves from Monday on, version 2 from Tuesday on."""
    for moment, run, score in (
        ("2026-11-23T02:31:00+00:00", "r1", "70/100"),
        ("2026-11-24T02:40:00+00:00", "r2", "74/100"),
    ):
        monkeypatch.setattr(promotions, "now", lambda moment=moment: datetime.fromisoformat(moment))
        version = made(run, score=score, dataset_commit="abc" * 5)
        versions.promote(version, "passed the gate", "nightly")


def test_the_promotions_answer_what_served_on_tuesday(served, capsys):
    assert versions.main("lab", "2026-11-24 14:03+00:00") == 0
    assert capsys.readouterr().out.startswith(
        "2026-11-24T02:40:00+00:00  version 2  74/100  team/data@abcabcabcabc"
    )


def test_the_promotions_answer_what_served_before_it(served, capsys):
    assert versions.main("lab", "2026-11-24 01:00+00:00") == 0
    assert "version 1" in capsys.readouterr().out


def test_every_promotion_is_listed(served, capsys):
    assert versions.main("lab", None) == 0
    one, two = capsys.readouterr().out.splitlines()
    assert "version 1" in one
    assert two.endswith("passed the gate, by nightly")


def test_a_moment_at_which_nothing_served(served):
    assert versions.main("lab", "2026-11-20 01:00+00:00") == 1
    assert versions.served_at("gpu", datetime.now(UTC) + timedelta(days=1)) is None


def test_what_is_no_moment_is_refused(served):
    assert versions.main("lab", "Tuesday") == 2


def test_every_version_is_listed_and_the_champion_marked(engine, capsys):
    versions.promote(made("r1"), "passed the gate", "r1")
    made("r2", score="6/100", verdict="held back: gain")
    assert versions.list_versions("lab") == 0
    one, two = capsys.readouterr().out.splitlines()
    assert one.startswith("*    1  ")
    assert two.startswith("     2  ")
    assert two.endswith("6/100  team/data@0123456789ab  held back: gain")


@pytest.fixture
def server(tmp_path) -> Iterator[tuple[str, object]]:
    """MLflow's address, and how to start it."""
    port = free_port()
    started = []

    def start() -> None:
        env = os.environ | {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PATH": f"{BASE}/mlflow-env/bin:{os.environ['PATH']}",
        }
        command = [
            BASE / "mlflow-env/bin/mlflow",
            "server",
            "--port",
            str(port),
            "--workers",
            "1",
            "--backend-store-uri",
            f"sqlite:///{tmp_path}/m.db",
            "--artifacts-destination",
            tmp_path / "artifacts",
        ]
        with (tmp_path / "mlflow.log").open("w") as log:
            server = subprocess.Popen(
                command, env=env, start_new_session=True, stdout=log, stderr=subprocess.STDOUT
            )
        started.append(server)
        import httpx

        wait_until(
            lambda: httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code == 200,
            seconds=90,
            problem=lambda: (tmp_path / "mlflow.log").read_text()[-2000:],
            not_yet=httpx.TransportError,
        )

    yield f"http://127.0.0.1:{port}", start
    for process in started:
        os.killpg(process.pid, 15)
        process.wait(30)


@pytest.mark.slow
def test_mlflow_receives_queued_changes_once_it_answers(records, server, monkeypatch, caplog):
    uri, start = server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    plan = run_plan("r1")
    plan = plan.model_copy(
        update={"training": plan.training.model_copy(update={"learning_rate": 0.001, "seed": 7})}
    )
    runs.put_plan(plan)
    runs.put_trained("r1", {"config_text": "lr = 0.001\n"})
    verdicts.put("r1", passed=True, table="before  after", decision={}, rules=[])
    counts = {"matched": 74, "strict": 70, "exact": 40, "invalid": 3, "vacuous": 1, "questions": 100}
    evaluation = EvaluationRecord(
        model="candidate", model_hash="h", questions=100, matched=74, score=counts, judgements=[]
    )
    evaluations.put("r1", "after", evaluation, "d")
    trained = (("try1", 1, 2.5), ("try1", 2, 2.0), ("try2", 2, 1.5))
    for at, (attempt, step, loss) in enumerate(trained, 1000):
        progress = Progress(
            step=step, total=2, loss=loss, lr=1e-3, seconds_per_step=1.0, tokens_per_second=100
        )
        series.put_iteration("r1", attempt, datetime.fromtimestamp(at, UTC), progress)
    first = made("r1")
    mlflow_mirror.enqueue("version", first)
    mlflow_mirror.enqueue("champion", first)
    mlflow_mirror.enqueue("version", made("r2", score="10/100", verdict="held back: gain"))
    caplog.set_level("INFO")
    assert mlflow_mirror.flush() == 3
    assert "stays queued and is sent later; nothing is lost" in caplog.text
    start()
    assert mlflow_mirror.flush() == 0
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    registered = client.search_model_versions("name = 'text2sql-lab'")
    assert sorted(v.tags["sqltune.version"] for v in registered) == ["1", "2"]
    champion = client.get_model_version_by_alias("text2sql-lab", "champion")
    assert champion.tags["sqltune.version"] == "1"
    assert champion.tags["dataset_commit"] == LINEAGE["dataset_commit"]
    assert champion.tags["gpu_hours"] == "1.5"
    run = client.get_run(champion.run_id)
    assert run.data.params["learning_rate"] == "0.001"
    assert run.data.metrics["after_matched"] == 74
    assert run.info.status == "FINISHED"
    # The step that a second try took again is the second try's.
    assert [(m.step, m.value) for m in client.get_metric_history(champion.run_id, "loss")] == [
        (1, 2.5),
        (2, 1.5),
    ]
    assert {f.path for f in client.list_artifacts(champion.run_id)} == {
        "plan.json",
        "verdict.json",
        "after.json",
        "trained.json",
        "table.txt",
        "xtuner_config.py",
    }
    # Sent twice: nothing doubles. And back to another champion.
    mlflow_mirror.enqueue("version", first)
    mlflow_mirror.enqueue("champion", versions.version("lab", 2))
    assert mlflow_mirror.flush() == 0
    assert len(client.search_model_versions("name = 'text2sql-lab'")) == 2
    assert client.get_model_version_by_alias("text2sql-lab", "champion").tags["sqltune.version"] == "2"
    assert len(client.search_runs([run.info.experiment_id])) == 2
    assert len(client.get_metric_history(champion.run_id, "loss")) == 2


def test_without_mlflow_everything_is_kept_in_the_records(records, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    mlflow_mirror.enqueue("version", made("r1"))
    assert mlflow_mirror.flush() == 1
