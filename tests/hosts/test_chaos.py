"""Faults that take long, or need network namespaces whose cables can be pulled; `make chaos` runs them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from lab import loopback
from ssh_gang.folder_recorder import FolderRecorder
from ssh_gang.hook import GangHook
from ssh_gang.model import Limits
from ssh_gang.watch import Watch
from tests.hosts.gangs import GANG, bash, gang, gang_folder, log_lines, remaining_processes, run, watch
from tests.waiting import until

pytestmark = [pytest.mark.chaos]
LOG = logging.getLogger("test")


class Namespace(loopback.Sshd):
    """An sshd in a network namespace of its own, at the end of a cable."""

    def link(self, number: int) -> None:
        self.number = number
        self.net, self.cable = f"sqtc{os.getpid()}-{self.name}", f"sqtc{number}v{os.getpid() % 10000}"
        for command in (
            f"ip netns add {self.net}",
            f"ip link add {self.cable} type veth peer name eth0 netns {self.net}",
            f"ip addr add {self.near}/30 dev {self.cable}",
            f"ip link set {self.cable} up",
            f"ip -n {self.net} addr add {self.address}/30 dev eth0",
            f"ip -n {self.net} link set eth0 up",
            f"ip -n {self.net} link set lo up",
        ):
            subprocess.run(shlex.split(command), check=True)

    @property
    def near(self) -> str:
        return f"10.214.{self.number}.1"

    @property
    def address(self) -> str:
        return f"10.214.{self.number}.2"

    def command(self) -> list[str]:
        # Processes of its own as well: what is stopped on one host is not looked for on the other.
        return [
            "ip",
            "netns",
            "exec",
            self.net,
            "unshare",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            *super().command(),
        ]

    def stop(self) -> None:
        # unshare ignores SIGTERM while its child lives; its child, the host's process 1, ends all others.
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def pull(self, up: bool = False) -> None:
        """Pull the cable, or put it back."""
        # The far end: the route to the host stays, so that nothing goes anywhere else.
        subprocess.run(["ip", "-n", self.net, "link", "set", "eth0", "up" if up else "down"], check=True)

    def unlink(self) -> None:
        subprocess.run(["ip", "netns", "delete", self.net], check=False)
        subprocess.run(["ip", "link", "delete", self.cable], check=False, capture_output=True)


@pytest.fixture
def linked(sshds, tmp_path, monkeypatch) -> Iterator[list[Namespace]]:
    """The two hosts again, each in a namespace."""
    if os.geteuid():
        pytest.skip("network namespaces take root")
    hosts = []
    for number, old in enumerate(sshds):
        old.stop()
        host = Namespace(old.name, old.folder, old.port)
        host.link(number)
        config = host.folder / "sshd_config"
        config.write_text(
            config.read_text().replace(f"ListenAddress {old.address}", f"ListenAddress {host.address}")
        )
        host.start()
        for name, value in host.connection(tmp_path).items():
            monkeypatch.setenv(name, value)
        hosts.append(host)
    (tmp_path / "known_hosts").write_text(loopback.known_hosts(hosts))
    yield hosts
    for host in hosts:
        host.stop()
        host.unlink()


def counting(end, pause=0.05):
    return bash(f"n=0; while [ ! -e {end} ]; do n=$((n+1)); echo line $n; sleep {pause}; done; echo over $n")


def assert_every_line_once(caplog, host):
    lines = log_lines(caplog, host)
    total = int(next(line for line in lines if line.startswith("over")).split()[1])
    assert [line for line in lines if line.startswith("line")] == [f"line {n}" for n in range(1, total + 1)]


@pytest.mark.parametrize("seconds", [20, 75])
def test_watch_survives_a_link_that_is_down_for_a_while(linked, caplog, tmp_path, seconds):
    """TCP survives twenty seconds; after 75 the connection is dead, and opened again."""
    caplog.set_level(logging.INFO)

    async def go():
        g = gang(linked, counting(tmp_path / "end"))
        async with GangHook(g) as hook:
            await hook.launch()
            watching = asyncio.create_task(Watch(hook, LOG, None).until_the_end())
            await until(lambda: len(log_lines(caplog, "b")) > 20)
            linked[1].pull()
            await asyncio.sleep(seconds)
            linked[1].pull(up=True)
            seen = len(log_lines(caplog, "b"))
            await until(lambda: len(log_lines(caplog, "b")) > seen + 20, 120)
            (tmp_path / "end").touch()
            return await asyncio.wait_for(watching, 60)

    assert asyncio.run(go()).ok
    assert any("its ranks go on" in m for m in caplog.messages)
    assert_every_line_once(caplog, "a")
    assert_every_line_once(caplog, "b")


def test_watch_gives_up_on_a_link_that_stays_down_and_stops_the_other_host(linked):
    """The reason names the unreachable host, and says that it could not be stopped."""

    async def go():
        g = gang(
            linked,
            bash("echo is up; sleep 600"),
            limits=Limits(connect=5, prepare=10, grace=2, unreachable=25),
        )
        async with GangHook(g) as hook:
            await hook.launch()
            watching = asyncio.create_task(Watch(hook, LOG, None).until_the_end())
            await until(lambda: all("is up" in (gang_folder(m, g) / "output").read_text() for m in g.members))
            linked[1].pull()
            event = await asyncio.wait_for(watching, 150)
            still = remaining_processes(g)
        linked[1].pull(up=True)
        async with GangHook(g) as hook:
            # The teardown, once the host is back.
            await hook.stop(None)
        return g, event, still

    g, event, still = asyncio.run(go())
    assert not event.ok
    assert event.failed_host == "b"
    assert "limit unreachable" in event.reason
    assert "not all could be stopped: b:" in event.reason
    assert still
    assert remaining_processes(g) == []


def test_a_gigabyte_of_log_is_recorded_whole(sshds, tmp_path):
    program = (
        "import sys; line = b'x' * 99 + b'\\n'; [sys.stdout.buffer.write(line * 1000) for _ in range(10000)]"
    )
    g = gang(sshds, [[sys.executable, "-c", program], ["true"]])
    began = time.monotonic()
    _, event = asyncio.run(run(g, FolderRecorder(tmp_path / "r", GANG)))
    assert event.ok
    print(f"{1000 / (time.monotonic() - began):.1f} MB/s")
    expected = hashlib.sha256()
    for _ in range(10000):
        expected.update((b"x" * 99 + b"\n") * 1000)
    with (tmp_path / "r" / "logs" / f"{g.name}.try1.a.log").open("rb") as f:
        assert hashlib.file_digest(f, "sha256").hexdigest() == expected.hexdigest()


@pytest.mark.sshd_options("MaxStartups 1")
def test_thirty_gangs_are_found_again_although_sshd_drops_connections(sshds, caplog, tmp_path):
    """As after a triggerer's restart."""
    caplog.set_level(logging.INFO)
    end = tmp_path / "end"
    gangs = [
        gang(sshds, counting(end, 0.5)).model_copy(update={"name": f"dag.train.run{n}"}) for n in range(30)
    ]

    async def go():
        for g in gangs:
            async with GangHook(g) as hook:
                await hook.launch()
        watching = [asyncio.create_task(watch(g)) for g in gangs]
        await until(lambda: sum("every rank has started" in m for m in caplog.messages) == 30, 120)
        end.touch()
        return await asyncio.wait_for(asyncio.gather(*watching), 120)

    assert all(event.ok for event in asyncio.run(go()))
