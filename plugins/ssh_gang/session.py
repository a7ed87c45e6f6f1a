"""A script that stays on the line: words to it, and its two outputs apart.

asyncssh's own readers hold stdout and stderr in one buffer: with stdout full, a read of stderr returns as if that had ended.
"""

from __future__ import annotations

import asyncio

import asyncssh


class Line(asyncssh.SSHClientSession[bytes]):
    """One SSH session. Its readers raise what broke the connection; the host is held up while stdout is not read."""

    def __init__(self) -> None:
        self.stdout = asyncio.StreamReader(limit=1024 * 1024)
        self.stderr = asyncio.StreamReader()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel = chan
        # Pauses the channel, and so the program on the host, while more than twice the limit is waiting.
        self.stdout.set_transport(chan)  # type: ignore[arg-type]

    def data_received(self, data: bytes, datatype: int | None) -> None:
        (self.stderr if datatype == asyncssh.EXTENDED_DATA_STDERR else self.stdout).feed_data(data)

    def eof_received(self) -> bool:
        for stream in (self.stdout, self.stderr):
            stream.feed_eof()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        for stream in (self.stdout, self.stderr):
            if exc:
                stream.set_exception(exc)
            else:
                stream.feed_eof()

    def write(self, words: bytes) -> None:
        """Words for the script's input; OSError when the line is closed."""
        self._channel.write(words)

    def close(self) -> None:
        """End the script's input, and the line."""
        self._channel.close()
