"""The disks of real hosts, over SSH."""

from __future__ import annotations

import shutil

import pytest

from sqltune.alerts.event import Event
from sqltune.tasks import disks
from tests.plans import run_plan
from tests.sqltune.tasks.conftest import variables  # noqa: F401 # a fixture


@pytest.mark.hosts(1)
def test_the_disk_of_a_work_folder_that_is_not_made_yet_is_told(
    sshds,
    records,
    variables,  # noqa: F811
    monkeypatch,
    tmp_path,
):
    cluster = run_plan().cluster
    host = cluster.hosts[0].model_copy(update={"name": sshds[0].name, "conn_id": sshds[0].conn_id})
    work_dir = str(tmp_path / "not made/yet")
    small = cluster.model_copy(
        update={"hosts": [host], "work_dir": work_dir, "alert_free_disk_gb": 1_000_000.0}
    )
    monkeypatch.setattr(disks, "cluster_names", lambda: ["lab"])
    monkeypatch.setattr(disks, "load_cluster", lambda _: small)
    sent = []
    monkeypatch.setattr(disks, "tell", lambda *alert: bool(sent.append(alert)) or True)
    free = disks.check_disks()[f"lab/{host.name}"]
    assert free == pytest.approx(shutil.disk_usage(tmp_path).free / disks.GIB, abs=0.5)
    (alert,) = [facts for event, _, _, facts in sent if event is Event.DISK and facts["place"] == host.name]
    assert (
        f"GiB are free under {work_dir}, less than 1000000.0 (alert_free_disk_gb): delete old runs there"
        in alert["cause"]
    )
