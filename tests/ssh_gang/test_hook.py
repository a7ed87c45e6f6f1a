"""What a gang's hook makes of answers that it does not expect; the hosts are scripted."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import asyncssh
import pytest

from ssh_gang import commands
from ssh_gang import hook as hook_module
from ssh_gang.errors import GangError, HostError
from ssh_gang.hook import GangHook
from ssh_gang.model import Gang, Member
from ssh_gang.session import InteractiveSession

GANG = Gang(
    name="dag.task.run",
    attempt="try1",
    root="/gangs",
    members=[Member(host=name, conn_id=name, argv=["true"], cwd="/work") for name in ("host-a", "host-b")],
)


BREAK = b"break"
"""In place of a line: the connection breaks."""


class Channel:
    """Takes what is written to a host."""

    def write(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


@pytest.fixture
def answers(monkeypatch) -> dict[str, list[bytes]]:
    """Lines that each host prints in a session: prepared, then the answer to the start signal."""
    lines = {member.host: [b"prepared\n", b"started\n"] for member in GANG.members}

    async def run(self, member, script, limit=60):
        return b"stopped=0" if "grace_tenths" in script else b"state=absent now=1"

    @asynccontextmanager
    async def interact(self, member, script):
        session = InteractiveSession()
        session.connection_made(Channel())
        for line in lines[member.host]:
            if line is BREAK:
                session.connection_lost(asyncssh.ConnectionLost("Connection lost"))
            else:
                session.data_received(line, None)
        yield session

    monkeypatch.setattr(GangHook, "run", run)
    monkeypatch.setattr(GangHook, "interact", interact)
    return lines


def launch(prepare=None) -> GangHook:
    hook = GangHook(GANG)
    asyncio.run(hook.launch(prepare))
    return hook


def test_hosts_that_confirm_the_start_signal_are_started(answers):
    launch()


def test_a_launch_leaves_its_milestones_in_order(answers):
    milestones = launch().milestones
    assert [m.kind for m in milestones] == ["submitted", "prepared", "started"]
    assert [m.at for m in milestones] == sorted(m.at for m in milestones)
    assert [c.command for m in milestones for c in m.commands] == ["true", "true"]


def test_a_launch_that_resumes_says_from_which_step(answers):
    async def prepare(gang):
        return gang.model_copy(update={"resumed_from": 40})

    assert [(m.kind, m.number) for m in launch(prepare).milestones][1] == ("resumed", 40)


def test_a_gang_that_runs_already_is_not_launched(answers, monkeypatch):
    async def run(self, member, script, limit=60):
        return (
            b"state=present attempt=try0 fencing_token=0 generation=0 spec_hash=- alive=yes boot=same "
            b"started=1 ranks=0 exit= ended= size= now=2"
        )

    monkeypatch.setattr(GangHook, "run", run)
    assert launch().milestones == []


def test_no_host_is_touched_while_one_does_not_answer(answers, monkeypatch):
    """Whether its ranks run is not known."""
    scripts = []

    async def run(self, member, script, limit=60):
        scripts.append(script)
        if member.host == "host-b":
            raise HostError("host-b: does not answer")
        return b"state=absent now=1"

    monkeypatch.setattr(GangHook, "run", run)
    with pytest.raises(HostError, match="^host-b: does not answer$"):
        launch()
    assert set(scripts) == {commands.query_state_command(GANG)}


def test_a_host_that_does_not_confirm_the_start_signal_is_named(answers, monkeypatch):
    monkeypatch.setattr(hook_module, "START_TIMEOUT", 0.05)
    answers["host-b"].pop()
    with pytest.raises(GangError, match="^host-b: prepared, but did not confirm the start signal"):
        launch()


def test_a_host_that_answers_the_start_signal_with_something_else_is_named(answers):
    answers["host-b"][1] = b"bash: start: command not found\n"
    with pytest.raises(GangError, match="^host-b: expected that it had started, found 'bash: start"):
        launch()


def test_what_a_login_script_prints_is_quoted(answers, monkeypatch):
    async def run(self, member, script, limit=60):
        return b"Welcome!\nstate=absent now=1"

    monkeypatch.setattr(GangHook, "run", run)
    with pytest.raises(HostError, match=r"host-a: expected its state, found 'Welcome!.*\.bashrc"):
        asyncio.run(GangHook(GANG).states())


def test_a_host_whose_connection_breaks_while_it_prepares_is_named(answers):
    answers["host-b"][:] = [BREAK]
    with pytest.raises(GangError, match=r"^host-b: the connection was lost \(Connection lost\)$"):
        launch()


def test_a_host_whose_connection_breaks_before_it_confirms_the_start_is_named(answers):
    answers["host-b"][1] = BREAK
    with pytest.raises(GangError, match=r"^host-b: the connection was lost \(Connection lost\)$"):
        launch()


def test_a_host_that_cannot_be_sent_the_start_signal_is_named(answers, monkeypatch):
    def write(self, data):
        raise BrokenPipeError("Channel not open for sending")

    monkeypatch.setattr(Channel, "write", write)
    with pytest.raises(HostError, match=r"^host-a: the connection was lost \(Channel not open"):
        launch()


def test_a_host_that_answers_the_prepare_command_with_noise_is_not_waited_for(answers, monkeypatch):
    """Its script still waits for the start signal, so that its stderr does not end."""
    answers["host-a"][:] = [b"Welcome!\n"]
    with pytest.raises(GangError, match="^host-a: cannot be prepared: Welcome!$"):
        asyncio.run(asyncio.wait_for(GangHook(GANG).launch(), 5))


def test_a_launch_that_is_cancelled_stops_what_it_has_started(answers, monkeypatch):
    stopped = []

    async def stop(self, attempt):
        stopped.append(attempt)

    monkeypatch.setattr(GangHook, "stop", stop)
    answers["host-b"].pop()
    assert cancelled_launch()
    assert stopped == ["try1"]


def test_a_launch_that_is_cancelled_stays_cancelled_where_not_all_can_be_stopped(answers, monkeypatch):
    async def stop(self, attempt):
        raise GangError("processes are left: 1 on host-a")

    monkeypatch.setattr(GangHook, "stop", stop)
    answers["host-b"].pop()
    assert cancelled_launch()


def cancelled_launch() -> bool:
    """Launch, and cancel that while a host does not confirm the start signal; whether it was cancelled."""

    async def go() -> bool:
        launching = asyncio.create_task(GangHook(GANG).launch())
        done, _ = await asyncio.wait({launching}, timeout=0.2)
        assert not done
        launching.cancel()
        await asyncio.wait({launching}, timeout=5)
        return launching.cancelled()

    return asyncio.run(go())
