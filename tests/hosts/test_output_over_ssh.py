"""Output that is hard to forward: broken UTF-8, and more than a task's log can take."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import sys
import time
from pathlib import Path

import pytest

from ssh_gang.folder_recorder import FolderRecorder
from tests.hosts.gangs import GANG, PROGRESS_PATTERN, bash, gang, log_lines, run


def test_a_log_with_broken_utf8_and_no_last_newline_arrives_whole(sshds, caplog, tmp_path):
    caplog.set_level(logging.INFO)
    g = gang(sshds, bash(r"printf 'good\nbad \xff\xfe end\n损失'"))
    assert asyncio.run(run(g, FolderRecorder(tmp_path / "r", GANG)))[1].ok
    for host in "ab":
        assert log_lines(caplog, host) == ["good", "bad \ufffd\ufffd end", "损失"]
        assert (
            tmp_path / "r" / "logs" / f"{g.name}.try1.{host}.log"
        ).read_bytes() == b"good\nbad \xff\xfe end\n" + "损失".encode()


def test_an_endless_log_is_recorded_whole_and_does_not_block_the_event_loop(sshds, caplog, tmp_path):
    """200 MB from each of two hosts: the task's log stays small, and the recorded one is complete."""
    caplog.set_level(logging.INFO)
    program = (
        "import sys; line = b'x' * 99 + b'\\n'; "
        "[sys.stdout.buffer.write(line * 1000) for _ in range(2000)]; print('end', flush=True)"
    )
    g = gang(sshds, [sys.executable, "-c", program])

    async def go():
        worst = 0.0

        def now():
            # Without the time that this thread waited for a processor, on a machine that is busy.
            return time.monotonic() - int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9

        async def heartbeat():
            nonlocal worst
            while True:
                before = now()
                await asyncio.sleep(0.02)
                worst = max(worst, now() - before - 0.02)

        beating = asyncio.create_task(heartbeat())
        _, event = await run(g, FolderRecorder(tmp_path / "r", GANG))
        beating.cancel()
        return event, worst

    event, worst = asyncio.run(go())
    assert event.ok
    assert worst < 2.0
    expected = hashlib.sha256((b"x" * 99 + b"\n") * 2_000_000 + b"end\n").hexdigest()
    for host in "ab":
        with (tmp_path / "r" / "logs" / f"{g.name}.try1.{host}.log").open("rb") as f:
            assert hashlib.file_digest(f, "sha256").hexdigest() == expected
    assert sum(map(len, caplog.messages)) < 60e6
    assert any("lines not shown" in m for m in caplog.messages)


MIB = 1024 * 1024


def memory(field: str) -> int:
    """MiB of this process: VmRSS, what it has; VmHWM, the most that it had since `clear_refs` was written."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) // 1024


@pytest.mark.chaos
@pytest.mark.hosts(1)
@pytest.mark.parametrize(
    ("source", "size"),
    [
        ("yes a line of a training without end", 2_000_000_000),
        ("tr '\\0' x </dev/zero", 2_000_000_000),
        ("yes 'Iter(train) [1/9]  lr: 1.0e-04  loss: 1.2'", 300_000_000),
    ],
)
def test_a_host_that_sends_gigabytes_fills_neither_memory_nor_disk(sshds, caplog, tmp_path, source, size):
    """Short lines, one line without an end, and lines that are shown beyond the first limit too."""
    caplog.set_level(logging.INFO)
    g = gang(sshds, bash(f"{source} | head -c {size}"), max_log_gib=1 / 16, progress_pattern=PROGRESS_PATTERN)
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    began = time.monotonic()
    _, event = asyncio.run(run(g, FolderRecorder(tmp_path / "r", GANG)))
    grown = memory("VmHWM") - before
    shown = sum(map(len, caplog.messages))
    print(
        json.dumps(
            {"source": source, "seconds": time.monotonic() - began, "grown_mib": grown, "shown": shown}
        )
    )
    assert event.ok
    assert (tmp_path / "r" / "logs" / f"{g.name}.try1.a.log").stat().st_size == 64 * MIB
    assert f"[a] of {size / 1e6:.0f} MB of its output, the first 67 MB are recorded" in caplog.messages
    assert sum("what follows is not recorded" in m for m in caplog.messages) == 1
    # What is shown is in this process too, once as a message and once as what pytest captures of it.
    assert shown < 40 * MIB
    assert grown < 400


def test_a_training_cannot_report_for_the_watcher(sshds, caplog):
    """What it prints are words of the protocol, and another host's lines."""
    caplog.set_level(logging.INFO)
    forged = (
        "state=present attempt=try1 fencing_token=0 generation=0 spec_hash=- alive=no boot=same started=1 "
    )
    forged += "ranks=1 exit=0 ended=2 size=0 now=2"
    program = f"echo '{forged}'; echo '{forged}' >&2; echo '[b] forged'; exit 3"
    g = gang(sshds, [bash(program), bash("sleep 60")])
    event = asyncio.run(run(g))[1]
    assert not event.ok
    assert (event.failed_host, event.failed_code) == ("a", 3)
    assert "[a] [b] forged" in caplog.messages
