"""Connections and scripts over SSH: what is checked, tried again, limited, and said when it fails."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncssh
import pytest

from ssh_gang import ssh
from ssh_gang.checking_hook import CheckingHook
from ssh_gang.errors import GangError, HostError
from ssh_gang.ssh import bash, connect, connected, on_all, raise_all
from tests.conftest import free_port
from tests.ssh_gang.ssh_server import (
    CONN_ID,
    HOST_KEY,
    LOGIN_KEY,
    add_connection,
    listening,
    serving,
)

OTHER_KEY = asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """An empty home: the configuration and the known hosts of whoever runs the tests are not used."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    return tmp_path


async def run(script: str, limit: float | None = 30) -> bytes:
    """Open a connection, run a script, and close the connection."""
    async with connected("a", CONN_ID, 30) as connection:
        return await bash(connection, script, limit)


def run_on_server(monkeypatch, script: str, limit: float | None = 30, **extra) -> bytes:
    """Run a script on a server whose Connection has further settings."""

    async def go() -> bytes:
        async with serving() as server:
            add_connection(monkeypatch, server.port, **extra)
            return await run(script, limit)

    return asyncio.run(go())


def connection_error(monkeypatch, limit: float = 30, port: int | None = None, **extra) -> str:
    """The message when no connection can be opened."""

    async def go() -> None:
        async with serving() as server:
            add_connection(monkeypatch, port or server.port, **extra)
            await connect("a", CONN_ID, limit)

    with pytest.raises(HostError) as error:
        asyncio.run(go())
    return str(error.value)


def test_bash_returns_stdout_alone(monkeypatch):
    assert run_on_server(monkeypatch, "echo out; echo err >&2") == b"out\n"


def test_bash_gives_up_a_host_that_answers_without_end(monkeypatch):
    monkeypatch.setattr(ssh, "ANSWER_LIMIT", 1 << 20)
    with pytest.raises(HostError, match="^a: a script printed more than 1 MiB and was given up: look at"):
        run_on_server(monkeypatch, "exec yes")
    with pytest.raises(HostError, match="^a: a script printed more than 1 MiB and was given up: look at"):
        run_on_server(monkeypatch, "exec yes >&2")


def test_bash_takes_a_script_that_is_longer_than_an_argument_may_be(monkeypatch):
    assert run_on_server(monkeypatch, f": {'x' * 300_000}\necho end") == b"end\n"


def test_bash_names_the_exit_code_and_what_the_script_said(monkeypatch):
    with pytest.raises(HostError, match="^a: the host's shell ended with exit code 3: no such file$"):
        run_on_server(monkeypatch, "echo out; echo no such file >&2; exit 3")


def test_bash_quotes_stdout_where_a_failed_script_left_stderr_empty(monkeypatch):
    with pytest.raises(HostError, match="exit code 1: refused$"):
        run_on_server(monkeypatch, "echo refused; exit 1")


def test_bash_quotes_the_end_of_a_long_error(monkeypatch):
    with pytest.raises(HostError) as error:
        run_on_server(monkeypatch, "seq 100000 >&2; exit 1")
    assert str(error.value).endswith("\n  99999\n  100000")
    assert len(str(error.value)) <= len("a: the host's shell ended with exit code 1: ") + ssh.ERROR_TAIL


def test_bash_names_the_signal_that_killed_the_script(monkeypatch):
    with pytest.raises(HostError, match="^a: the host's shell was killed by signal KILL$"):
        run_on_server(monkeypatch, "kill -KILL $$")


def test_bash_says_that_the_connection_was_lost_in_the_middle_of_a_script(monkeypatch):
    started = asyncio.Event()

    async def never_ends(process: asyncssh.SSHServerProcess) -> None:
        started.set()
        await process.channel.wait_closed()

    async def go() -> None:
        async with serving(never_ends) as server:
            add_connection(monkeypatch, server.port)
            async with connected("a", CONN_ID) as connection:
                running = asyncio.create_task(bash(connection, "true"))
                await started.wait()
                server.drop_connections()
                await running

    with pytest.raises(HostError, match="^a: the connection was lost before the host's shell had ended$"):
        asyncio.run(go())


def test_bash_over_a_connection_that_is_closed_says_so(monkeypatch):
    async def go() -> None:
        async with serving() as server:
            add_connection(monkeypatch, server.port)
            async with connected("a", CONN_ID) as connection:
                await ssh.disconnect(connection)
                await bash(connection, "true")

    with pytest.raises(HostError, match=r"^a: the connection was lost \("):
        asyncio.run(go())


def test_bash_that_exceeds_its_limit_gives_its_channel_back(monkeypatch):
    closed = asyncio.Event()

    async def never_ends(process: asyncssh.SSHServerProcess) -> None:
        await process.stdin.read()
        await process.channel.wait_closed()
        closed.set()

    async def go() -> None:
        async with serving(never_ends) as server:
            add_connection(monkeypatch, server.port)
            async with connected("a", CONN_ID) as connection:
                with pytest.raises(HostError, match=r"^a: a script did not end within 0.2 s$"):
                    await bash(connection, "true", limit=0.2)
                async with asyncio.timeout(30):
                    await closed.wait()

    asyncio.run(go())


def test_connected_has_closed_its_connection_when_the_block_ends(monkeypatch):
    async def go() -> bool:
        async with serving() as server:
            add_connection(monkeypatch, server.port)
            async with connected("a", CONN_ID, 30) as connection:
                pass
            return connection.is_closed()

    assert asyncio.run(go())


def test_connect_checks_the_host_key_of_the_connection_on_every_port(monkeypatch):
    message = connection_error(monkeypatch, host_key=OTHER_KEY.export_public_key().decode())
    assert message.startswith("a: its host key is not the known one")
    assert f"put its new key into connection {CONN_ID!r} (host_key or known_hosts)" in message


def test_connect_checks_the_host_key_in_a_known_hosts_file(monkeypatch, home):
    file = home / "hosts"
    file.write_text(f"127.0.0.1 {HOST_KEY.export_public_key().decode()}")
    assert run_on_server(monkeypatch, "echo in", host_key=None, known_hosts=str(file)) == b"in\n"


def test_connect_refuses_a_host_that_no_file_knows(monkeypatch):
    assert "its host key is not the known one" in connection_error(monkeypatch, host_key=None)


@pytest.mark.parametrize("extra", [{"no_host_key_check": True}, {"known_hosts": "none"}])
def test_connect_refuses_a_connection_that_checks_no_host_key(monkeypatch, extra):
    message = connection_error(monkeypatch, host_key=None, **extra)
    assert "checks no host key" in message
    assert "host_key or known_hosts" in message


def test_connect_names_a_key_that_the_host_does_not_accept(monkeypatch):
    message = connection_error(monkeypatch, private_key=OTHER_KEY.export_private_key().decode())
    assert message.startswith(f"a: the key of connection {CONN_ID!r} was not accepted")


def test_connect_names_a_key_file_that_cannot_be_read(monkeypatch, home):
    message = connection_error(monkeypatch, private_key=None, key_file=str(home / "missing"))
    assert f"cannot read {home}/missing of connection {CONN_ID!r}" in message


def test_connect_names_a_host_on_which_nothing_listens(monkeypatch):
    message = connection_error(monkeypatch, port=free_port())
    assert message.startswith("a: does not answer")
    assert f"check that it is on, and the host and port of connection {CONN_ID!r}" in message


def test_connect_gives_up_a_host_that_accepts_and_says_nothing(monkeypatch):
    async def say_nothing(reader: asyncio.StreamReader) -> None:
        await reader.read()

    async def go() -> None:
        async with listening(say_nothing) as port:
            add_connection(monkeypatch, port)
            await connect("a", CONN_ID, 0.2)

    with pytest.raises(HostError, match="^a: does not answer"):
        asyncio.run(go())


def test_connect_names_an_unknown_connection():
    with pytest.raises(HostError, match="^a: connection 'nobody'"):
        asyncio.run(connect("a", "nobody", 1))


def test_connect_never_quotes_a_password(monkeypatch):
    async def go() -> None:
        async with serving(authorized_client_keys=None) as server:
            add_connection(monkeypatch, server.port, private_key=None, passphrase="hunter2")
            await connect("a", CONN_ID, 30)

    with pytest.raises(HostError) as error:
        asyncio.run(go())
    assert "hunter2" not in str(error.value)


def test_connect_tries_again_where_sshd_drops_connections(monkeypatch):
    """As sshd does beyond MaxStartups."""

    async def go() -> bytes:
        async with serving() as server:
            add_connection(monkeypatch, server.port)
            server.drops = 2
            output = await run("echo in")
            assert server.drops == 0
            return output

    monkeypatch.setattr(ssh, "FIRST_PAUSE", 0.01)
    assert asyncio.run(go()) == b"in\n"


def test_connect_names_max_startups_when_sshd_drops_every_connection(monkeypatch):
    async def get_conn(self):
        raise ConnectionResetError("Connection reset by peer")

    monkeypatch.setattr(CheckingHook, "get_conn", get_conn)
    monkeypatch.setattr(ssh, "FIRST_PAUSE", 0.01)
    with pytest.raises(
        HostError, match="^a: sshd dropped every connection for .* MaxStartups may be too low"
    ):
        asyncio.run(connect("a", CONN_ID, 0.1))


def test_connect_logs_in_a_few_times_at_once_and_no_more(monkeypatch):
    async def go() -> int:
        async with serving() as server:
            add_connection(monkeypatch, server.port)
            connections = await asyncio.gather(*(connect("a", CONN_ID, 60) for _ in range(10)))
            for connection in connections:
                await ssh.disconnect(connection)
            return server.most_at_once

    assert asyncio.run(go()) <= ssh.OPENING_AT_ONCE


def test_connect_goes_through_the_jump_host_of_the_ssh_configuration(monkeypatch, home):
    """OpenSSH's own file, of the user who runs Airflow, is where a ProxyJump belongs."""
    jumps = []

    class Jump(asyncssh.SSHServer):
        def connection_requested(self, dest_host: str, dest_port: int, *_: object) -> bool:
            jumps.append(dest_port)
            return True

    async def go() -> tuple[bytes, int]:
        async with serving() as server, serving(server_factory=Jump) as jump:
            (home / ".ssh" / "key").write_bytes(LOGIN_KEY.export_private_key())
            (home / ".ssh" / "known_hosts").write_text(f"127.0.0.1 {HOST_KEY.export_public_key().decode()}")
            (home / ".ssh" / "config").write_text(
                f"Host localhost\n  ProxyJump somebody@127.0.0.1:{jump.port}\n"
                f"Host *\n  IdentityFile {home}/.ssh/key\n"
            )
            add_connection(monkeypatch, server.port, host="localhost")
            return await run("echo in"), server.port

    output, port = asyncio.run(go())
    assert output == b"in\n"
    assert jumps == [port]


def test_on_all_keeps_each_result_beside_the_errors_of_others():
    async def half(number: int) -> int:
        if number % 2:
            raise HostError(f"{number} is odd")
        return number // 2

    results = asyncio.run(on_all([2, 3, 4], half))
    assert results[0] == 1
    assert isinstance(results[1], HostError)
    assert results[2] == 2


def test_raise_all_returns_the_results_where_none_failed():
    assert raise_all([1, 2]) == [1, 2]


def test_raise_all_has_a_line_for_each_error():
    with pytest.raises(GangError, match=r"^a: off\nTimeoutError\(\)$"):
        raise_all([HostError("a: off"), 1, TimeoutError()], GangError)
