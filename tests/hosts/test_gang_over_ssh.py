"""A gang against real sshd: started together, found again, stopped together."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess

import pytest

from ssh_gang.errors import GangError, HostError
from ssh_gang.folder_recorder import FolderRecorder
from ssh_gang.hook import GangHook
from ssh_gang.model import Limits
from ssh_gang.resume import Decision
from ssh_gang.trigger import GangTrigger
from ssh_gang.watch import Watch
from tests.conftest import free_port
from tests.hosts.gangs import (
    GANG,
    PROGRESS_PATTERN,
    bash,
    gang,
    gang_folder,
    log_lines,
    remaining_processes,
    run,
    watch,
)
from tests.waiting import until


def test_gang_starts_on_every_host_and_all_output_arrives(sshds, caplog, tmp_path):
    caplog.set_level(logging.INFO)
    line = "Iter(train) [2/2]  lr: 1e-4  eta: 0:00:00  time: 0.1  loss: 0.5"
    decision, event = asyncio.run(
        run(
            gang(
                sshds,
                bash(f"echo 开始; for i in $(seq 2000); do echo line $i; done; echo '{line}'"),
                progress_pattern=PROGRESS_PATTERN,
            ),
            FolderRecorder(tmp_path / "record", GANG),
        )
    )
    assert decision is Decision.FRESH_SUBMIT
    assert event.ok
    assert event.launch_skew < 2
    for host in "ab":
        assert log_lines(caplog, host) == ["开始", *(f"line {i}" for i in range(1, 2001)), line]
        whole = (tmp_path / "record" / "logs" / f"dag.train.run.try1.{host}.log").read_text()
        assert whole.splitlines() == log_lines(caplog, host)
    assert event.launch_skew_error < 0.5
    assert event.progress.loss == 0.5
    assert FolderRecorder(tmp_path / "record", GANG).last_progress("try1").step == 2


def test_watch_that_takes_over_repeats_no_line_and_knows_the_progress(sshds, caplog, tmp_path):
    caplog.set_level(logging.INFO)
    record = FolderRecorder(tmp_path / "record", GANG)
    g = gang(
        sshds,
        bash("echo 'Iter(train) [1/1]  lr: 1e-4  eta: 0:00:00  time: 0.1  loss: 0.5'"),
        progress_pattern=PROGRESS_PATTERN,
    )
    asyncio.run(run(g, record))
    caplog.clear()
    event = asyncio.run(watch(g, record))
    assert event.ok
    assert event.progress.step == 1
    assert not [m for m in caplog.messages if "Iter(train)" in m]


def test_watch_stops_the_gang_at_the_first_failure_and_blames_it(sshds):
    g = gang(sshds, [bash("sleep 60"), bash("echo 'Traceback: out of memory'; sleep 0.5; exit 7")])
    _, event = asyncio.run(run(g))
    assert not event.ok
    assert event.failed_host == "b"
    assert event.reason == "b: exit code 7, before all others"
    assert "out of memory" in event.tail
    assert remaining_processes(g) == []


def test_launch_starts_no_host_when_one_cannot_be_prepared(sshds, tmp_path):
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", free_port()))
        s.listen()
        members = gang(sshds, bash(f"touch {tmp_path}/went")).members
        taken = members[1].model_copy(update={"required_port": s.getsockname()[1]})
        g = gang(sshds, ["true"]).model_copy(update={"members": [members[0], taken]})
        with pytest.raises(GangError, match=r"b: cannot be prepared: port \d+ is taken"):
            asyncio.run(run(g))
    assert not (tmp_path / "went").exists()
    assert remaining_processes(g) == []


def test_launch_reconnects_to_ranks_that_run(sshds, tmp_path):
    async def twice():
        first = gang(sshds, bash(f"while [ ! -e {tmp_path}/end ]; do sleep 0.1; done; echo over"))
        async with GangHook(first) as hook:
            assert (await hook.launch())[0] is Decision.FRESH_SUBMIT
            async with GangHook(first.model_copy(update={"attempt": "try2"})) as again:
                decision, running_gang = await again.launch()
                assert decision is Decision.RECONNECT
                assert running_gang.attempt == "try1"
        (tmp_path / "end").touch()
        assert (await watch(running_gang)).ok
        async with GangHook(first.model_copy(update={"attempt": "try3"})) as third:
            assert (await third.launch())[0] is Decision.ALREADY_SUCCEEDED
        # A person cleared the task: it runs again.
        async with GangHook(first.model_copy(update={"attempt": "try4", "generation": 2})) as fourth:
            decision, fresh = await fourth.launch()
            assert decision is Decision.TERMINAL_RESUBMIT
            assert fresh.attempt == "try4"
        assert (await watch(fresh)).ok

    asyncio.run(twice())


def test_on_kill_stops_its_own_attempt_and_no_other(sshds):
    async def clear():
        g = gang(sshds, bash("sleep 60"), attempt="try2")
        async with GangHook(g) as hook:
            await hook.launch()
            old = GangTrigger(g.model_copy(update={"attempt": "try1"}).model_dump(mode="json"))
            await old.on_kill()
            assert all(s.is_running for s in await hook.states())
            await GangTrigger(g.model_dump(mode="json")).on_kill()
            assert not any(s.is_running for s in await hook.states())
        return g

    assert remaining_processes(asyncio.run(clear())) == []


def test_watch_finds_a_killed_wrapper_and_stops_the_rest(sshds):
    async def kill():
        g = gang(sshds, bash("sleep 60"))
        async with GangHook(g) as hook:
            await hook.launch()
            await hook.run(
                g.members[0],
                "until [ -e ~/gangs/dag.train.run/started ]; do sleep 0.05; done; "
                'read -r pid _ <~/gangs/dag.train.run/pid; kill -9 "$pid"',
            )
        return g, await watch(g)

    g, event = asyncio.run(kill())
    assert not event.ok
    assert event.failed_host == "a"
    assert "lost" in event.reason
    assert remaining_processes(g) == []


def test_watch_survives_a_restart_of_sshd(sshds, tmp_path):
    async def restart():
        g = gang(sshds, bash(f"while [ ! -e {tmp_path}/end ]; do sleep 0.1; done"))
        async with GangHook(g) as hook:
            await hook.launch()
            watch_ = Watch(hook, logging.getLogger("test"), None)
            ending = asyncio.create_task(watch_.until_the_end())
            await until(lambda: all(h.state and h.state.started_at for h in watch_.hosts.values()))
            await asyncio.to_thread(sshds[1].stop)
            done, _ = await asyncio.wait({ending}, timeout=2)
            assert not done
            await asyncio.to_thread(sshds[1].start)
            (tmp_path / "end").touch()
            return await ending

    assert asyncio.run(restart()).ok


def test_watch_stops_a_gang_that_hangs_before_the_first_step(sshds):
    g = gang(
        sshds,
        bash("echo loading; sleep 600"),
        limits=Limits(connect=10, prepare=10, grace=1, first_step=2),
        progress_pattern=PROGRESS_PATTERN,
    )
    _, event = asyncio.run(run(g))
    assert not event.ok
    assert "limit first_step" in event.reason
    assert remaining_processes(g) == []


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"stall": 1.5}, "no progress for 2 s (limit stall), last: iter 1/9 · loss 0.5000 · ETA 0:00:01"),
        ({"total": 1}, "not done after 1 s (limit total)"),
    ],
)
def test_watch_names_the_limit_that_was_exceeded(sshds, limits, reason):
    line = "Iter(train) [1/9]  lr: 1e-4  eta: 0:00:01  time: 0.1  loss: 0.5"
    g = gang(
        sshds,
        bash(f"echo '{line}'; sleep 600"),
        limits=Limits(connect=10, prepare=10, grace=1, **limits),
        progress_pattern=PROGRESS_PATTERN,
    )
    _, event = asyncio.run(run(g))
    assert event.reason == reason
    assert remaining_processes(g) == []


def test_launch_names_a_host_that_is_off_with_the_remedy(sshds):
    sshds[1].stop()
    with pytest.raises(HostError, match=r"b: does not answer .*connection 'test_b'"):
        asyncio.run(run(gang(sshds, ["true"])))


def test_launch_refuses_a_changed_host_key(sshds, tmp_path):
    known = (tmp_path / "known_hosts").read_text().splitlines()
    key = known[0].split()[2]
    (tmp_path / "known_hosts").write_text(
        "\n".join(" ".join([line.split()[0], "ssh-ed25519", key]) for line in known) + "\n"
    )
    with pytest.raises(HostError, match=r"b: its host key is not the known one"):
        asyncio.run(run(gang(sshds, ["true"])))


def test_launch_names_a_key_that_is_not_accepted(sshds):
    (sshds[0].folder / "authorized_keys").write_text("")
    with pytest.raises(HostError, match=r"a: the key of connection 'test_a' was not accepted"):
        asyncio.run(run(gang(sshds, ["true"])))


@pytest.mark.parametrize("file", ["key", "known_hosts"])
def test_launch_names_a_file_of_the_connection_that_cannot_be_read(sshds, tmp_path, file):
    """In a container the mounted key may belong to another user; that is not a host that does not answer.

    A folder stands in its place, because root may read any file.
    """
    (tmp_path / file).unlink()
    (tmp_path / file).mkdir()
    with pytest.raises(
        HostError,
        match=rf"a: Airflow \(user \d+\) cannot read {tmp_path / file} of connection 'test_a': "
        "Is a directory; correct",
    ):
        asyncio.run(run(gang(sshds, ["true"])))


def test_launch_names_an_unknown_connection(sshds):
    g = gang(sshds, ["true"])
    lost = g.members[0].model_copy(update={"conn_id": "nobody"})
    with pytest.raises(HostError, match="a: connection 'nobody'"):
        asyncio.run(run(g.model_copy(update={"members": [lost]})))


def test_records_that_are_never_written_end_no_training(sshds, caplog, tmp_path):
    caplog.set_level(logging.INFO)
    (tmp_path / "record").mkdir()
    (tmp_path / "record" / "logs").write_text("a file where the folder should be")
    line = "Iter(train) [2/2]  lr: 1e-4  eta: 0:00:00  time: 0.1  loss: 0.5"
    g = gang(
        sshds,
        bash(f"echo '{line}'; echo over"),
        progress_pattern=PROGRESS_PATTERN,
        limits=Limits(connect=10, prepare=10, grace=2, records=1),
    )
    recorder = FolderRecorder(tmp_path / "record", GANG)
    _, event = asyncio.run(asyncio.wait_for(run(g, recorder), 30))
    assert event.ok
    assert event.progress.step == 2
    assert log_lines(caplog, "b") == [line, "over"]
    assert sum("records cannot be written" in m for m in caplog.messages) == 1
    assert sum("given up: 1 s (limit records)" in m for m in caplog.messages) == 1


def test_records_that_cannot_be_written_for_a_while_are_complete_afterwards(sshds, caplog, tmp_path):
    caplog.set_level(logging.INFO)
    (tmp_path / "record").mkdir()
    obstacle = tmp_path / "record" / "logs"
    obstacle.write_text("a file where the folder should be")
    recorder = FolderRecorder(tmp_path / "record", GANG)

    async def go():
        g = gang(sshds, bash("for i in $(seq 500); do echo line $i; done"))
        watching = asyncio.create_task(run(g, recorder))
        await until(lambda: any("records cannot be written" in m for m in caplog.messages))
        await until(lambda: len(log_lines(caplog, "a")) == len(log_lines(caplog, "b")) == 500)
        assert not watching.done()
        obstacle.unlink()
        return await asyncio.wait_for(watching, 20)

    _, event = asyncio.run(go())
    assert event.ok
    for host in "ab":
        lines = recorder.log_path("try1", host).read_text().splitlines()
        assert lines == [f"line {i}" for i in range(1, 501)]
    assert sum("records can be written again" in m for m in caplog.messages) == 1


def test_output_that_is_not_recorded_is_not_acknowledged_and_comes_again(sshds, caplog, tmp_path):
    """A watcher that takes over from one whose recorder did not answer logs and records all of it, once."""
    caplog.set_level(logging.INFO)
    (tmp_path / "record").mkdir()
    obstacle = tmp_path / "record" / "logs"
    obstacle.write_text("a file where the folder should be")
    g = gang(sshds, bash("echo one; echo two"))

    async def go():
        first = asyncio.create_task(run(g, FolderRecorder(tmp_path / "record", GANG)))
        await until(lambda: log_lines(caplog, "a") == log_lines(caplog, "b") == ["one", "two"])
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        obstacle.unlink()
        caplog.clear()
        return await asyncio.wait_for(watch(g, FolderRecorder(tmp_path / "record", GANG)), 20)

    assert asyncio.run(go()).ok
    for host in "ab":
        assert log_lines(caplog, host) == ["one", "two"]
        log = FolderRecorder(tmp_path / "record", GANG).log_path("try1", host)
        assert log.read_text() == "one\ntwo\n"


def test_watch_follows_again_when_the_tail_on_a_host_was_killed(sshds, caplog, tmp_path):
    """After `tail` is killed on a host, its session is opened again and the log goes on."""
    caplog.set_level(logging.INFO)

    async def go():
        g = gang(sshds, bash(f"echo one; while [ ! -e {tmp_path}/end ]; do sleep 0.1; done; echo two"))
        async with GangHook(g) as hook:
            await hook.launch()
            watching = asyncio.create_task(Watch(hook, logging.getLogger("test"), None).until_the_end())
            await until(lambda: log_lines(caplog, "a") == ["one"])
            tails = subprocess.run(
                ["pgrep", "-f", f"^tail -q -c .* -f -- {gang_folder(g.members[0], g)}/output"],
                capture_output=True,
                text=True,
            ).stdout.split()
            assert tails
            for pid in tails:
                os.kill(int(pid), signal.SIGKILL)
            (tmp_path / "end").touch()
            return await asyncio.wait_for(watching, 20)

    assert asyncio.run(go()).ok
    assert log_lines(caplog, "a") == ["one", "two"]


def test_watch_forwards_a_last_line_without_an_end(sshds, caplog):
    """The end is reported after the last output: the half line is forwarded then, without the other half."""
    caplog.set_level(logging.INFO)
    _, event = asyncio.run(asyncio.wait_for(run(gang(sshds, bash("printf half; sleep 1"))), 20))
    assert event.ok
    assert log_lines(caplog, "a") == ["half"]


def test_output_beyond_what_may_wait_stays_on_the_host(sshds, caplog, tmp_path, monkeypatch):
    """While the recorder does not answer, output stays on the host, whose state is still known."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("ssh_gang.host_watch.CHUNK", 1000)
    monkeypatch.setattr("ssh_gang.host_watch.QUERY_PAUSE", 0.05)
    monkeypatch.setattr("ssh_gang.watch.CAPACITY", 2000)
    (tmp_path / "record").mkdir()
    obstacle = tmp_path / "record" / "logs"
    obstacle.write_text("a file where the folder should be")
    recorder = FolderRecorder(tmp_path / "record", GANG)
    g = gang(sshds, bash("for i in $(seq 5000); do echo line $i; done"))

    async def go():
        async with GangHook(g) as hook:
            await hook.launch()
            watching = Watch(hook, logging.getLogger("test"), recorder)
            ending = asyncio.create_task(watching.until_the_end())
            await until(lambda: all(host.has_succeeded for host in watching.hosts.values()))
            assert not ending.done()
            received = sum(host.output.received for host in watching.hosts.values())
            obstacle.unlink()
            return received, await asyncio.wait_for(ending, 30)

    received, event = asyncio.run(go())
    assert event.ok
    assert received < 5000
    for host in "ab":
        lines = [f"line {i}" for i in range(1, 5001)]
        assert recorder.log_path("try1", host).read_text().splitlines() == lines
        assert log_lines(caplog, host) == lines
