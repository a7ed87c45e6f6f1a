"""Run the commands of a gang in a real bash on this machine, as a host's sshd would."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssh_gang import commands
from ssh_gang.model import Gang, Limits, Member
from ssh_gang.protocol import Message, Prepared, Started, StateReport, parse_line, start_signal
from ssh_gang.state import JobState
from tests.conftest import bash
from tests.waiting import wait_until


def gang(root: Path, argv: list[str], grace: float = 1, **member: Any) -> Gang:
    """A gang of one member, with its folders under `root`."""
    one = Member(host="here", conn_id="c", argv=argv, cwd=str(root / "work"), **member)
    return Gang(
        name="dag.task.run",
        attempt="try1",
        root=str(root / "gangs"),
        members=[one],
        limits=Limits(prepare=5, grace=grace),
    )


def run(script: str) -> str:
    """Run a script that reads no requests; its stdout."""
    result = bash(script)
    assert result.returncode == 0, result.stderr
    return result.stdout.decode().strip()


class Session:
    """A script whose input stays open."""

    def __init__(self, script: str) -> None:
        command, text = commands.interactive_command(script)
        self.process = subprocess.Popen(
            ["sh", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        self.send(text)

    def send(self, request: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(request)

    def message(self) -> Message:
        """The next message on stdout."""
        assert self.process.stdout
        return parse_line(self.process.stdout.readline())

    def stderr_message(self) -> Message:
        """The next message on stderr."""
        assert self.process.stderr
        return parse_line(self.process.stderr.readline())

    def until_stderr_message(self, kind: type) -> Any:
        """The next message of a kind on stderr; others are dropped."""
        while not isinstance(message := self.stderr_message(), kind):
            assert self.process.poll() is None, "the session has ended"
        return message

    def hang_up(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        assert self.process.stderr
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()
        self.process.stderr.close()


@contextmanager
def session(script: str) -> Iterator[Session]:
    """A session for the length of a block."""
    opened = Session(script)
    try:
        yield opened
    finally:
        opened.hang_up()


def launch(g: Gang, replace: str | None = None) -> None:
    """Prepare the gang and start it."""
    with session(commands.prepare_command(g, g.members[0], replace)) as prepared:
        assert prepared.message() == Prepared()
        prepared.send(start_signal())
        assert prepared.message() == Started()


def prepare_answer(g: Gang, replace: str | None = None) -> Message:
    """The first message of the prepare command; the input then ends."""
    with session(commands.prepare_command(g, g.members[0], replace)) as prepared:
        return prepared.message()


def state(g: Gang) -> JobState:
    """The gang's state now."""
    message = parse_line(run(commands.query_state_command(g)))
    assert isinstance(message, StateReport)
    return message.state


def until(g: Gang, condition: Callable[[JobState], object]) -> JobState:
    """Poll the gang's state until it meets a condition."""

    def met() -> JobState | None:
        current = state(g)
        return current if condition(current) else None

    return wait_until(met, 20, lambda: state(g))


def until_ended(g: Gang) -> tuple[JobState, bytes]:
    """The state of the gang when it has ended, and its output."""
    ended = until(g, lambda s: s.is_terminal)
    return ended, (Path(g.root) / g.name / "output").read_bytes()


def until_file(file: Path, content: bytes = b"") -> bytes:
    """The content of a file as soon as it is there and holds `content`."""
    wait_until(lambda: file.exists() and content in file.read_bytes(), 10, lambda: file)
    return file.read_bytes()


def stop(g: Gang, attempt: str | None = "try1") -> Message:
    """The message of the stop command."""
    return parse_line(run(commands.stop_command(g, attempt)))


def marked_processes(g: Gang) -> list[Path]:
    """Processes of this attempt, as /proc shows them."""
    assignment = f"{commands.MARKER}={g.marker}".encode()
    return [p for p in Path("/proc").glob("[0-9]*/environ") if assignment in _read(p)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
