"""What a watcher records of a gang of a run."""

from __future__ import annotations

import pytest

from sqltune.records import database, recorder, runs, series
from sqltune.records.logstore import LogStore, check_log_store
from sqltune.records.recorder import ProbeRecorder, RunRecorder
from ssh_gang.gpus import Gpu
from ssh_gang.progress import Progress
from ssh_gang.recorder import RecorderUnavailable
from tests.plans import run_plan


@pytest.fixture
def run(engine) -> RunRecorder:
    runs.put_plan(run_plan())
    check_log_store("r1")
    return RunRecorder.ref("r1", "train").resolve()


def test_everything_written_twice_is_there_once(run):
    gpus = [Gpu(index=0, use=50.0, memory_used=1, memory_total=2)]
    for _ in range(2):
        run.progress("try1", 1000.0, Progress(step=1, total=2, loss=1.0))
        run.gpu_samples("try1", 1000.5, "a", gpus)
        run.host_states("try1", 1000.0, {"a": "running"})
        run.output("try1", "a", 0, b"hello\n")
    assert [p.progress.step for p in series.iterations("r1")] == [1]
    assert [p.gpu for p in series.gpu_samples("r1")] == gpus
    assert [(host, p.state) for host, p in series.host_states("r1").items()] == [("a", "running")]
    assert LogStore().read("r1", "train.try1.a") == b"hello\n"


def test_the_last_progress_is_of_the_attempt(run):
    run.progress("try1", 1000.0, Progress(step=5, total=9, loss=1.0, last_finite_step=5))
    run.progress("try2", 1001.0, Progress(step=3, total=9))
    assert run.last_progress("try1") == Progress(step=5, total=9, loss=1.0, last_finite_step=5)
    assert run.last_progress("try3") is None


def test_the_iterations_of_a_probe_are_not_the_trainings(run):
    probe = ProbeRecorder.ref("r1", "probe_0", "probe").resolve()
    probe.progress("zero2.try1", 1000.0, Progress(step=20, total=20))
    probe.output("zero2.try1", "a", 0, b"hello\n")
    assert probe.last_progress("zero2.try1") is None
    assert series.iterations("r1") == []
    assert LogStore().read("r1", "probe_0.zero2.try1.a") == b"hello\n"


def test_a_log_of_many_lines_is_few_blocks(run, monkeypatch):
    monkeypatch.setattr(recorder, "COMPACT_AFTER", 10)
    for number in range(25):
        run.output("try1", "a", 4 * number, b"%03d\n" % number)
    log = LogStore().read("r1", "train.try1.a")
    assert log.splitlines() == [b"%03d" % number for number in range(25)]
    assert len(LogStore()._blocks("r1", "train.try1.a")) < 10


def test_a_database_that_is_away_is_unavailable(postgres, monkeypatch):
    monkeypatch.setenv("SQLTUNE_DATABASE_URL", postgres.url("nowhere"))
    with pytest.raises(RecorderUnavailable, match="the records' database: .*nowhere.* does not exist"):
        RunRecorder("r1", "train").progress("try1", 1000.0, Progress(step=1, total=2))
    database.close()


def test_an_unmigrated_database_is_unavailable(empty_database):
    with pytest.raises(RecorderUnavailable, match="sqltune migrate"):
        RunRecorder("r1", "train").last_progress("try1")


def test_a_log_store_that_cannot_be_written_is_unavailable(records, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SQLTUNE_LOG_STORE", str(tmp_path / "file"))
    with pytest.raises(RecorderUnavailable, match="the log store: "):
        RunRecorder("r1", "train").output("try1", "a", 0, b"x")


def test_another_machines_log_store_is_not_written(run, monkeypatch, tmp_path):
    monkeypatch.setenv("SQLTUNE_LOG_STORE", str(tmp_path / "elsewhere"))
    with pytest.raises(RecorderUnavailable, match="elsewhere on .* is not the log store that this run was"):
        run.output("try1", "a", 0, b"x")
    assert not (tmp_path / "elsewhere").exists()


def test_an_s3_server_that_is_away_is_unavailable(records, s3_that_is_away):
    with pytest.raises(RecorderUnavailable, match="the log store: "):
        RunRecorder("r1", "train").output("try1", "a", 0, b"x")
