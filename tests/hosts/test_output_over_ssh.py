"""Output that is hard to forward: broken UTF-8, and more than a task's log can take."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sys
import time
from pathlib import Path

from ssh_gang.folder_recorder import FolderRecorder
from tests.hosts.gangs import GANG, bash, gang, log_lines, run


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
