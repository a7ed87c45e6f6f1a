"""An interactive SSH session: writes to the script's stdin, reads its stdout and stderr separately.

asyncssh's own readers keep stdout and stderr in one buffer: while stdout is full, a read of stderr returns as
if it had ended.
"""

from __future__ import annotations

import asyncio

import asyncssh

READ_LIMIT = 1024 * 1024
"""Bytes of stdout; while twice as many wait, the channel is paused, and so is the host's program."""

LINE_LIMIT = 64 * 1024
"""Bytes of a line on stderr, with the same effect."""


class _Valve:
    """Pauses the channel while one of its two readers is full: both outputs come through it."""

    def __init__(self, channel: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel, self._full = channel, 0

    def pause_reading(self) -> None:
        self._full += 1
        self._channel.pause_reading()

    def resume_reading(self) -> None:
        self._full -= 1
        if not self._full:
            self._channel.resume_reading()


class InteractiveSession(asyncssh.SSHClientSession[bytes]):
    """A script on a host that stays connected; its readers raise the error that broke the connection."""

    def __init__(self) -> None:
        self.stdout = asyncio.StreamReader(limit=READ_LIMIT)
        self.stderr = asyncio.StreamReader(limit=LINE_LIMIT)

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """Keep the channel, so that a full reader can pause it; called by asyncssh."""
        self._channel, valve = chan, _Valve(chan)
        for reader in (self.stdout, self.stderr):
            # It needs no more of a transport than these two methods.
            reader.set_transport(valve)  # type: ignore[arg-type]

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Feed the reader that the data belongs to; called by asyncssh."""
        reader = self.stderr if datatype == asyncssh.EXTENDED_DATA_STDERR else self.stdout
        reader.feed_data(data)

    def eof_received(self) -> bool:
        """End both readers; called by asyncssh."""
        for reader in (self.stdout, self.stderr):
            reader.feed_eof()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End both readers, with the error, if any; called by asyncssh."""
        for reader in (self.stdout, self.stderr):
            if exc:
                reader.set_exception(exc)
            else:
                reader.feed_eof()

    def write(self, data: bytes) -> None:
        """Write to the script's stdin; `OSError` when the session is closed."""
        self._channel.write(data)

    def close(self) -> None:
        """Close the script's stdin, and the session."""
        self._channel.close()
