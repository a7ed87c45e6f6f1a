"""What a command on a host answers, up to a limit: a host that sends without end fills no memory."""

from __future__ import annotations

import asyncio

import asyncssh


class TooLong(Exception):
    """The command sent more than the limit."""


class Answer(asyncssh.SSHClientSession[bytes]):
    """Both outputs of a command, and how it ended; for asyncssh's `create_session`.

    asyncssh's own `run` collects whatever comes.

    Args:
        limit: Bytes of both outputs together.

    Attributes:
        stdout: What it printed.
        stderr: What it printed there.
        exit_status: None where it was ended by a signal, or the connection was lost before it ended.
        exit_signal: The signal that ended it, without SIG; empty where none did.
    """

    def __init__(self, limit: int) -> None:
        self.stdout, self.stderr = bytearray(), bytearray()
        self.exit_status: int | None = None
        self.exit_signal = ""
        self._limit = limit
        self._ended = asyncio.get_running_loop().create_future()

    async def wait(self) -> None:
        """Wait until the command has ended.

        Raises:
            TooLong: It sent more than the limit, and was given up.
        """
        await self._ended

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """Keep the channel, to give the command up; called by asyncssh."""
        self._channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Keep what the command sends; called by asyncssh."""
        if self._ended.done():
            return
        if len(self.stdout) + len(self.stderr) + len(data) > self._limit:
            self._ended.set_exception(TooLong())
            self._channel.abort()
            return
        (self.stderr if datatype == asyncssh.EXTENDED_DATA_STDERR else self.stdout).extend(data)

    def exit_status_received(self, status: int) -> None:
        """Keep the exit status; called by asyncssh."""
        self.exit_status = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """Keep the signal; called by asyncssh."""
        self.exit_signal = signal

    def connection_lost(self, exc: Exception | None) -> None:
        """End the wait; called by asyncssh. Without an exit status the connection broke too early."""
        if not self._ended.done():
            self._ended.set_result(None)
