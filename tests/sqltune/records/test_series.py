"""Series of a training."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from sqltune.records import runs, series
from sqltune.records.models import Iteration
from sqltune.records.series import HostPoint
from ssh_gang.gpus import Gpu
from ssh_gang.progress import Progress
from ssh_gang.ranks import RankReport
from tests.plans import run_plan

START = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def run(engine):
    runs.put_plan(run_plan())


def put(step: int, seconds: float, attempt: str = "try1", loss: float | None = 1.0) -> None:
    progress = Progress(step=step, total=9, loss=loss, lr=1e-4, eta="0:01:00", memory=7)
    series.put_iteration("r1", attempt, START + timedelta(seconds=seconds), progress)


def test_an_iteration_is_read_back_whole():
    put(1, 0)
    (point,) = series.iterations("r1")
    assert point.attempt == "try1"
    assert point.at == START
    assert point.progress == Progress(step=1, total=9, loss=1.0, lr=1e-4, eta="0:01:00", memory=7)


def test_every_field_of_progress_has_a_column():
    assert set(Progress.model_fields) <= {column.name for column in Iteration.__table__.columns}


def test_an_iteration_recorded_twice_is_there_once():
    put(1, 0)
    put(1, 0)
    assert len(series.every_iteration("r1")) == 1


def test_an_iteration_that_is_read_again_keeps_its_moment():
    """A watcher that takes over may read lines again before it knows where the training stood."""
    for step in (1, 2, 3):
        put(step, step)
    put(1, 9)
    assert series.last_iteration("r1", "try1").progress.step == 3
    assert [p.at for p in series.iterations("r1")] == [START + timedelta(seconds=s) for s in (1, 2, 3)]


def test_a_later_attempts_step_replaces_the_earlier_ones():
    for step in (1, 2, 3):
        put(step, step, loss=2.0)
    put(3, 9, attempt="try2", loss=1.0)
    assert [(p.progress.step, p.attempt, p.progress.loss) for p in series.iterations("r1")] == [
        (1, "try1", 2.0),
        (2, "try1", 2.0),
        (3, "try2", 1.0),
    ]
    assert len(series.every_iteration("r1")) == 4


def test_an_earlier_attempts_step_that_arrives_late_does_not_win():
    put(3, 9, attempt="try2", loss=1.0)
    put(3, 2, attempt="try1", loss=2.0)
    assert [p.attempt for p in series.iterations("r1")] == ["try2"]


def test_the_last_iteration_belongs_to_the_requested_attempt():
    put(5, 1)
    put(3, 9, attempt="try2")
    assert series.last_iteration("r1").progress.step == 3
    assert series.last_iteration("r1", "try1").progress.step == 5
    assert series.last_iteration("r1", "try3") is None


def test_a_moment_of_another_time_zone_is_kept_as_utc():
    berlin = START.astimezone(timezone(timedelta(hours=1)))
    series.put_iteration("r1", "try1", berlin, Progress(step=1, total=9))
    assert series.iterations("r1")[0].at == START
    assert series.iterations("r1")[0].at.utcoffset() == timedelta(0)


def test_a_moment_without_a_time_zone_is_refused():
    with pytest.raises(Exception, match="has no time zone"):
        series.put_iteration("r1", "try1", START.replace(tzinfo=None), Progress(step=1, total=9))


def test_gpu_samples_recorded_twice_are_there_once():
    gpus = [
        Gpu(index=0, use=50.0, memory_used=1, memory_total=2),
        Gpu(index=1, use=None, memory_used=3, memory_total=4),
    ]
    for _ in range(2):
        series.put_gpu_samples("r1", "try1", "a", START, gpus)
    series.put_gpu_samples("r1", "try1", "b", START, gpus[:1])
    assert [(p.host, p.gpu, p.at) for p in series.gpu_samples("r1")] == [
        ("a", gpus[0], START),
        ("a", gpus[1], START),
        ("b", gpus[0], START),
    ]


def test_the_newest_state_of_each_host_is_kept():
    series.put_host_states("r1", START, {"a": "running", "b": "running"})
    series.put_host_states("r1", START, {"a": "ended", "b": "silent"})
    assert series.host_states("r1") == {"a": HostPoint("ended", START), "b": HostPoint("silent", START)}


def test_the_temperature_of_a_gpu_is_read_back():
    gpu = Gpu(index=0, use=50.0, memory_used=1, memory_total=2, temperature=61.5)
    series.put_gpu_samples("r1", "try1", "a", START, [gpu])
    assert [p.gpu for p in series.gpu_samples("r1")] == [gpu]


def test_the_newest_sample_of_each_gpu():
    gpus = [Gpu(index=index, memory_used=1, memory_total=2) for index in (0, 1)]
    for seconds in (0, 15):
        series.put_gpu_samples("r1", "try1", "a", START + timedelta(seconds=seconds), gpus)
    series.put_gpu_samples("r1", "try1", "b", START, gpus[:1])
    assert [(p.host, p.gpu.index, p.at) for p in series.last_gpu_samples("r1")] == [
        ("a", 0, START + timedelta(seconds=15)),
        ("a", 1, START + timedelta(seconds=15)),
        ("b", 0, START),
    ]


def test_the_newest_report_of_each_rank_is_kept():
    first, newer = (RankReport(rank=1, step=step, at=START.timestamp(), seconds=3.5) for step in (4, 5))
    series.put_rank_states("r1", "try1", "a", [first, RankReport(rank=0, step=5, at=START.timestamp())])
    series.put_rank_states("r1", "try2", "a", [newer])
    assert [(p.report, p.attempt, p.host) for p in series.rank_states("r1")] == [
        (RankReport(rank=0, step=5, at=START.timestamp()), "try1", "a"),
        (newer, "try2", "a"),
    ]
