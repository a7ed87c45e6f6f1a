"""Task `check_disks` of text2sql_housekeeping: tell of a disk before it is full, once."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from airflow.sdk import Variable
from airflow.sdk.configuration import conf

from sqltune.alerts.event import Event
from sqltune.alerts.notifier import tell
from sqltune.config.cluster import Cluster, Host
from sqltune.config.loading import cluster_names, load_cluster
from sqltune.environment import setting
from sqltune.errors import ConfigError, SqltuneError
from sqltune.metrics import CONTROL_PLANE, emit
from sqltune.records.logstore import LogStore
from ssh_gang import commands
from ssh_gang.errors import HostError
from ssh_gang.ssh import bash, connected, on_all

log = logging.getLogger(__name__)

TOLD = "sqltune_low_disks"
"""Airflow Variable with the disks that were told as nearly full, and are not well again."""
WELL = 1.1
"""Times the limit that must be free again: at the limit itself, every few megabytes would be an alert."""
ANSWERS = 120.0
"""Seconds that all hosts have to answer: the task has five minutes, and an alert takes up to 30 s."""
OWN_LOGS = "logs of Airflow"
LIMIT = "SQLTUNE_ALERT_FREE_DISK_GB"
DEFAULT_LIMIT = "5"
GIB = 1024**3


@dataclass(frozen=True)
class Disk:
    """The disk of a folder; sizes in GiB."""

    cluster: str
    place: str
    """Name of the host, or what is on the disk."""
    folder: str
    total: float
    free: float
    limit: float
    setting: str
    """Where the limit is set."""
    remedy: str

    @property
    def name(self) -> str:
        """Names it in the list of those that were told."""
        return f"{self.cluster}/{self.place}"

    def __str__(self) -> str:
        return (
            f"{self.place}: {self.free:.1f} of {self.total:.1f} GiB are free under {self.folder}, less than "
            f"{self.limit:.1f} ({self.setting}): {self.remedy}"
        )


def check_disks() -> dict[str, float]:
    """Look at the disks of all hosts' work folders and of the logs; tell of those that are nearly full.

    A host that does not answer is left out; what was told of it stays.

    Returns:
        Free space in GiB, by cluster and host.

    Raises:
        SqltuneError: A disk could not be looked at for an unexpected reason; the others were, and were told.
    """
    told: set[str] = set(Variable.get(TOLD, default=[], deserialize_json=True))
    disks: list[Disk] = []
    failed: list[str] = []
    # Each is told before the next is looked for, Airflow's own first: hosts may hang.
    for disk in chain(_control_plane(failed), _hosts(failed)):
        _tell(disk, told)
        disks.append(disk)
    for cluster in {disk.cluster for disk in disks}:
        emit(cluster, "disk_free", min(disk.free for disk in disks if disk.cluster == cluster))
    if failed:
        raise SqltuneError("\n".join(["these disks could not be looked at, all others were:", *failed]))
    return {disk.name: round(disk.free, 1) for disk in disks}


def _tell(disk: Disk, told: set[str]) -> None:
    """Tell of a disk that is low and was well before; note at once which are low and were told."""
    before = set(told)
    if disk.free >= disk.limit * WELL:
        told.discard(disk.name)
    elif disk.free < disk.limit:
        log.warning("%s", disk)
        cluster = "" if disk.cluster == CONTROL_PLANE else disk.cluster
        facts = {"place": disk.place, "cause": str(disk), "cluster": cluster}
        # One that has arrived nowhere is sent again in ten minutes.
        if disk.name not in told and tell(Event.DISK, "", "", facts):
            told.add(disk.name)
    if told != before:
        description = "Disks that were told as nearly full"
        Variable.set(TOLD, sorted(told), description=description, serialize_json=True)


@contextmanager
def _noted(name: str, failed: list[str]) -> Iterator[None]:
    """Log an exception, and note it for the end of the task."""
    try:
        yield
    except Exception as e:
        log.warning("%s: its disk cannot be looked at", name, exc_info=e)
        failed.append(f"{name}: {type(e).__name__}: {e}")


def _control_plane(failed: list[str]) -> Iterator[Disk]:
    with _noted(OWN_LOGS, failed):
        yield _own_disk()


def _own_disk() -> Disk:
    """The disk of the log store, or of Airflow's own logs where the log store is on object storage."""
    value = setting(LIMIT, DEFAULT_LIMIT)
    try:
        limit = float(value)
    except ValueError:
        raise ConfigError(
            [f"{LIMIT} is {value!r}, expected GiB, such as {DEFAULT_LIMIT}: correct it"]
        ) from None
    folder = LogStore().folder or Path(conf.get("logging", "base_log_folder"))
    while not folder.exists():
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    return Disk(
        cluster=CONTROL_PLANE,
        place=OWN_LOGS,
        folder=str(folder),
        total=usage.total / GIB,
        free=usage.free / GIB,
        limit=limit,
        setting=LIMIT,
        remedy="make room there, or keep less (docs/deploy.md, Retention)",
    )


def _hosts(failed: list[str]) -> Iterator[Disk]:
    """The disks of the hosts that answer; all are asked at once."""
    places = [(name, cluster, host) for name, cluster in _clusters(failed) for host in cluster.storage_hosts]
    for (name, _, host), disk in zip(places, asyncio.run(on_all(places, _ask)), strict=True):
        if isinstance(disk, HostError):
            log.warning("%s", disk)
        elif isinstance(disk, BaseException):
            with _noted(f"{name}/{host.name}", failed):
                raise disk
        else:
            yield disk


def _clusters(failed: list[str]) -> Iterator[tuple[str, Cluster]]:
    for name in cluster_names():
        with _noted(f"cluster {name}", failed):
            try:
                cluster = load_cluster(name)
            except ConfigError as e:
                # A cluster that is not used here: its file names variables that are not set.
                log.info("cluster %s is left out: %s", name, e)
                continue
            yield name, cluster


async def _ask(place: tuple[str, Cluster, Host]) -> Disk:
    """The disk of one host's work folder, within `ANSWERS`.

    Raises:
        HostError: The host does not answer in time, or says nothing that can be read.
    """
    name, cluster, host = place
    try:
        async with asyncio.timeout(ANSWERS):
            return await _host(name, cluster, host)
    except TimeoutError as e:
        raise HostError(
            f"{host.name}: its disk is not known after {ANSWERS:.0f} s: look at the host's load and network"
        ) from e


async def _host(name: str, cluster: Cluster, host: Host) -> Disk:
    """The disk of one host's work folder.

    Raises:
        HostError: The host does not answer, or says nothing that can be read.
    """
    # The folder is made by the first run.
    script = f"""\
folder={commands.path(cluster.work_dir)}
until [ -e "$folder" ]; do folder=$(dirname "$folder"); done
df --block-size=1 --output=size,avail "$folder" | tail -n 1
"""
    async with connected(host.name, host.conn_id, cluster.limits.connect) as connection:
        answer = (await bash(connection, script, 60)).decode(errors="replace")
    try:
        total, free = map(int, answer.split())
    except ValueError:
        raise HostError(f"{host.name}: df answers {answer[-200:]!r}, expected two numbers of bytes") from None
    return Disk(
        cluster=name,
        place=host.name,
        folder=cluster.work_dir,
        total=total / GIB,
        free=free / GIB,
        limit=cluster.low_disk_gb,
        setting="alert_free_disk_gb",
        remedy="delete old runs there, or lower keep in the cluster file",
    )
