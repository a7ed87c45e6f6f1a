"""A disk that is nearly full is told once; tests/hosts/test_disks.py looks at those of real hosts."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from sqltune.alerts.event import Event
from sqltune.errors import ConfigError, SqltuneError
from sqltune.tasks import disks
from tests.plans import run_plan

GIB = disks.GIB


@pytest.fixture
def told(monkeypatch) -> list[str]:
    """Causes of the alerts that were sent."""
    sent: list[str] = []

    def tell(event: Event, run_id: str, link: str, facts: dict[str, str]) -> bool:
        assert (event, run_id, link) == (Event.DISK, "", "")
        sent.append(facts["cause"])
        return True

    monkeypatch.setattr(disks, "tell", tell)
    return sent


@pytest.fixture
def free(monkeypatch, records, variables):
    """Set the free space of the disk of the logs, in GiB; no host is asked."""
    monkeypatch.setattr(disks, "cluster_names", list)

    def set_free(gib: float) -> None:
        usage = SimpleNamespace(total=100 * GIB, free=gib * GIB)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    return set_free


@pytest.fixture
def hosts(monkeypatch, free) -> dict[str, float | Exception | None]:
    """Free GiB of each host of two clusters, an exception, or None where it hangs; Airflow's disk is low."""
    free(4)
    answers: dict[str, float | Exception | None] = {}

    @asynccontextmanager
    async def connected(name, conn_id, limit):
        yield name

    async def bash(name, script, limit):
        answer = answers[name]
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        return f"{100 * GIB} {answer * GIB:.0f}\n".encode()

    def load_cluster(cluster_name):
        lab = run_plan().cluster.model_copy(update={"alert_free_disk_gb": 5.0})
        hosts = [host.model_copy(update={"name": f"{cluster_name}-{host.name[-1]}"}) for host in lab.hosts]
        return lab.model_copy(update={"hosts": hosts})

    monkeypatch.setattr(disks, "connected", connected)
    monkeypatch.setattr(disks, "bash", bash)
    monkeypatch.setattr(disks, "cluster_names", lambda: ["one", "two"])
    monkeypatch.setattr(disks, "load_cluster", load_cluster)
    return answers


def test_hosts_that_hang_hold_up_no_alert(hosts, told, monkeypatch, caplog):
    monkeypatch.setattr(disks, "ANSWERS", 0.05)
    hosts |= {"one-a": None, "one-b": 3, "two-a": None, "two-b": 2}
    asked = disks.on_all

    async def on_all(items, call):
        told.append("the hosts are asked")
        return await asked(items, call)

    monkeypatch.setattr(disks, "on_all", on_all)
    assert disks.check_disks() == {"airflow/logs of Airflow": 4, "one/one-b": 3, "two/two-b": 2}
    assert [cause.partition(":")[0] for cause in told] == [
        "logs of Airflow",
        "the hosts are asked",
        "one-b",
        "two-b",
    ]
    assert "two-a: its disk is not known after" in caplog.text


def test_what_fails_unexpectedly_is_named_after_the_others_were_told(hosts, told, monkeypatch, caplog):
    monkeypatch.setenv("SQLTUNE_ALERT_FREE_DISK_GB", "some")
    hosts |= {"one-a": ZeroDivisionError("no reason"), "one-b": 3, "two-a": 9, "two-b": 2}
    with pytest.raises(SqltuneError) as failed:
        disks.check_disks()
    assert [cause.partition(":")[0] for cause in told] == ["one-b", "two-b"]
    assert "one/one-a: ZeroDivisionError: no reason" in str(failed.value)
    assert "SQLTUNE_ALERT_FREE_DISK_GB is 'some', expected GiB" in str(failed.value)
    assert "two" not in str(failed.value)
    assert "Traceback" in caplog.text


def test_a_cluster_file_that_cannot_be_read_is_named_after_the_others_were_told(hosts, told, monkeypatch):
    load = disks.load_cluster
    monkeypatch.setattr(disks, "load_cluster", lambda name: load(name) if name == "two" else 1 / 0)
    hosts |= {"two-a": 9, "two-b": 2}
    with pytest.raises(SqltuneError, match="cluster one: ZeroDivisionError"):
        disks.check_disks()
    assert [cause.partition(":")[0] for cause in told] == ["logs of Airflow", "two-b"]


def test_what_was_told_is_noted_before_the_next_is(hosts, told, monkeypatch, variables):
    """A task that is ended in between, as after its five minutes, tells nothing twice."""
    hosts |= {"one-a": 1, "one-b": 9, "two-a": 9, "two-b": 9}
    arrives = disks.tell

    def tell(event, run_id, link, facts):
        if facts["place"] == "one-a":
            raise KeyboardInterrupt
        return arrives(event, run_id, link, facts)

    monkeypatch.setattr(disks, "tell", tell)
    with pytest.raises(KeyboardInterrupt):
        disks.check_disks()
    assert json.loads(variables[disks.TOLD]) == ["airflow/logs of Airflow"]


def test_a_disk_that_is_nearly_full_is_told_once_and_again_after_it_was_well(free, told, records):
    # 5.2 GiB are more than the limit, and less than what counts as well again.
    for gib, messages in ((6, 0), (4.9, 1), (4.8, 1), (5.2, 1), (4.9, 1), (5.5, 1), (4, 2)):
        free(gib)
        disks.check_disks()
        assert len(told) == messages, gib
    assert told[0] == (
        f"logs of Airflow: 4.9 of 100.0 GiB are free under {records}, less than 5.0 "
        "(SQLTUNE_ALERT_FREE_DISK_GB): make room there, or keep less (docs/deploy.md, Retention)"
    )


def test_it_is_in_the_log_as_long_as_it_lasts(free, told, caplog):
    free(4)
    disks.check_disks()
    caplog.clear()
    disks.check_disks()
    assert "logs of Airflow: 4.0 of 100.0 GiB are free" in caplog.text


def test_an_alert_that_did_not_arrive_is_sent_again(free, monkeypatch, told):
    arrives = disks.tell
    monkeypatch.setattr(disks, "tell", lambda *arguments: not arrives(*arguments))
    free(4)
    disks.check_disks()
    disks.check_disks()
    assert len(told) == 2


def test_the_limit_is_a_setting(free, told, monkeypatch):
    free(4)
    monkeypatch.setenv("SQLTUNE_ALERT_FREE_DISK_GB", "0")
    assert disks.check_disks() == {"airflow/logs of Airflow": 4}
    monkeypatch.setenv("SQLTUNE_ALERT_FREE_DISK_GB", "some")
    with pytest.raises(SqltuneError, match="SQLTUNE_ALERT_FREE_DISK_GB is 'some', expected GiB"):
        disks.check_disks()
    assert told == []


def test_a_log_store_on_object_storage_has_no_disk_and_airflows_own_logs_have(
    free, told, monkeypatch, tmp_path, s3_that_is_away
):
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path / "not/made/yet"))
    free(4)
    disks.check_disks()
    assert f"are free under {tmp_path}," in told[0]


def test_a_host_that_does_not_answer_and_a_cluster_without_settings_are_left_out(
    free, told, monkeypatch, variables, caplog
):
    """And what was told of its disk stays."""
    caplog.set_level("INFO")
    monkeypatch.setattr(disks, "cluster_names", lambda: ["lab", "unset"])
    lab = run_plan().cluster
    monkeypatch.setattr(disks, "load_cluster", lambda name: lab if name == "lab" else _unset(name))
    variables[disks.TOLD] = '["lab/host-a"]'
    free(9)
    assert disks.check_disks() == {"airflow/logs of Airflow": 9}
    assert variables[disks.TOLD] == '["lab/host-a"]'
    assert "host-a" in caplog.text
    assert "cluster unset is left out" in caplog.text


def _unset(name: str) -> None:
    raise ConfigError([f"{name}: SQLTUNE_LAB_HUB is not set"])


def test_the_limit_of_a_host_comes_before_a_run_is_refused():
    cluster = run_plan().cluster
    assert cluster.low_disk_gb == 2 * cluster.min_free_disk_gb
    assert cluster.model_copy(update={"alert_free_disk_gb": 7.0}).low_disk_gb == 7
