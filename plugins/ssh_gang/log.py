"""What ranks print: bytes become lines, and lines become entries of the task's log."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Protocol

from ssh_gang.text import decode


class TaskLog(Protocol):
    """The methods of a logger that are used here; the standard library's and Airflow's have them."""

    def info(self, msg: str, /, *args: object) -> object:
        """Log at level INFO; `msg` is formatted with `%`."""

    def warning(self, msg: str, /, *args: object) -> object:
        """Log at level WARNING."""

    def error(self, msg: str, /, *args: object) -> object:
        """Log at level ERROR."""


SHOWN_CHARACTERS = 4000
"""Characters of a line that are shown."""

LONGEST_UNTERMINATED = 1024 * 1024
"""Bytes without a newline that are taken for a line."""

LOG_LIMIT = 16 * 1024 * 1024
"""Characters of a host's output in the task's log; errors and progress are shown up to twice that."""

LINES_PER_ENTRY = 200
"""Lines in one log entry when many come at once: entries cost the triggerer more than bytes."""

FEW_LINES = 20
"""Up to so many lines are logged in entries of their own."""

_RANK = re.compile(r"\[rank (\d+)\]:")
_UNFINISHED_BAR = re.compile(r"\b\d?\d%\|")
"""A progress bar below 100 %."""
_NCCL_DETAIL = re.compile(r"\bNCCL (INFO|TRACE)\b")
# Which transport NCCL chose is the part of its output that people look for.
_NCCL_SUMMARY = re.compile(r"NCCL INFO (Using network|NCCL version|NET/\w+ : Using|.*Init COMPLETE)")
_RANK_AGAIN = re.compile(r"^\[rank\d+\]: ?")
"""PyTorch puts the rank in front of each line of a traceback once more."""
_TRACEBACK = "Traceback (most recent call last)"
_ERROR = re.compile(
    rf"^{re.escape(_TRACEBACK)}|^\s*[\w.]*(Error|Exception|Interrupt)\b(:|$)|\bNCCL WARN\b"
    r"|\bout of memory\b|Segmentation fault|No space left on device|\bKilled\b"
)
_EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(:|$)")
"""How a traceback ends: with the exception's name, not indented."""
_TERMINATED = re.compile(r"\bSignalException: Process \d+ got signal: 15\b")
"""How torchrun's own traceback ends when it is told to stop."""
_SIGNS = (
    "Traceback",
    "Error",
    "Exception",
    "Interrupt",
    "NCCL ",
    "out of memory",
    "Segmentation",
    "No space left",
    "Killed",
    "%|",
)
"""A line without any of these is none of the above. All lines are searched at once: a rank may print many."""


class LineBuffer:
    """Turns bytes, as they arrive, into whole lines.

    A character is never cut; broken UTF-8 and control characters become the replacement character, and escape
    sequences, such as colours, are left out.
    """

    def __init__(self) -> None:
        self._rest = b""

    @property
    def held_bytes(self) -> int:
        """Bytes of the line that is not whole yet."""
        return len(self._rest)

    def feed(self, data: bytes, final: bool = False) -> list[str]:
        """Return the lines that are whole now.

        Of a progress bar that rewrites its line, the last state is kept.

        Args:
            data: The next bytes.
            final: Whether no more will come, so that the rest counts as a line too.
        """
        before, newline, self._rest = self._split(data)
        lines = decode(before).split("\n") if newline else []
        if (final and self._rest) or len(self._rest) > LONGEST_UNTERMINATED:
            before += self._rest
            lines.append(decode(self._rest))
            self._rest = b""
        if b"\r" in before:
            lines = [line.rstrip("\r").rpartition("\r")[2] for line in lines]
        return [line[:SHOWN_CHARACTERS] for line in lines]

    def _split(self, data: bytes) -> tuple[bytes, bytes, bytes]:
        if b"\n" not in data:
            return b"", b"", self._rest + data
        return (self._rest + data).rpartition(b"\n")


def split_ranks(line: str) -> list[tuple[int | None, str]]:
    """Return what each rank printed in a line, as torchrun passed it on; None for what torchrun printed.

    torchrun reads a rank's file while the rank writes it. A line that it found half written gets a rank in
    front of its other half as well, and another rank's line may stand between the two.
    """
    if (whole := _single_rank(line)) is not None:
        return whole
    parts = _RANK.split(line)
    pieces: list[tuple[int | None, str]] = [(None, parts[0])]
    for rank, text in zip(parts[1::2], parts[2::2], strict=True):
        if pieces[-1][0] == int(rank):
            pieces[-1] = (int(rank), pieces[-1][1] + text)
        else:
            pieces.append((int(rank), text))
    return [(rank, text) for rank, text in pieces if text.strip()]


def _single_rank(line: str) -> list[tuple[int | None, str]] | None:
    """The usual case, without a regular expression: one rank, at the start of the line; else None."""
    end = line.find("]:")
    if not line.startswith("[rank ") or line.find("[rank ", 6) >= 0 or end <= 0 or not line[6:end].isdigit():
        return None
    text = line[end + 2 :]
    return [(int(line[6:end]), text)] if text.strip() else []


class LogFilter:
    """Chooses what of a host's output goes to the task's log; the recorder keeps the whole of it.

    Every line is shown, with host and rank in front, except unfinished progress bars and NCCL's details
    (counted). Beyond a limit only errors and progress are shown, and beyond twice that nothing, so that a
    rank that logs without end does not bury the triggerer.

    Args:
        host: Name of the host.
        limit: Characters that are shown before the limit strikes.
    """

    def __init__(self, host: str, limit: int = LOG_LIMIT) -> None:
        self.host, self.limit = host, limit
        self.first_error: str | None = None
        """What the first traceback ended with, or the first other line that looks like an error."""
        self._traceback_of: tuple[int | None] | None = None
        self._shown = self._nccl_details = self._left_out = 0
        self._exceeded: set[int] = set()

    def filter(self, lines: list[str], progress: Collection[int] = ()) -> Iterator[str]:
        """Return log entries for lines.

        Args:
            lines: Lines of the host's output.
            progress: Positions of the lines that report a step.
        """
        is_full = 2 * self.limit in self._exceeded
        if is_full and self.first_error and self._traceback_of is None:
            self._left_out += len(lines)
            return
        text = "\n".join(lines)
        signs = [sign for sign in _SIGNS if sign in text]
        if self._shown > self.limit and not signs and (is_full or not progress):
            self._left_out += len(lines)
            return
        entry: list[str] = []
        for at, line in enumerate(lines):
            for rank, part in split_ranks(line):
                shown = self._show(rank, part, any(sign in part for sign in signs), at in progress)
                if shown:
                    entry.append(shown)
            if len(entry) >= LINES_PER_ENTRY:
                yield "\n".join(entry)
                entry = []
        yield from entry if len(entry) <= FEW_LINES else ["\n".join(entry)]

    def summary(self) -> Iterator[str]:
        """Return how much was not shown."""
        if self._nccl_details:
            yield f"[{self.host}] {self._nccl_details} lines of NCCL details not shown"
        if self._left_out:
            yield f"[{self.host}] {self._left_out} lines not shown"

    def _show(self, rank: int | None, text: str, has_sign: bool, is_progress: bool) -> str | None:
        """The line as it is shown, or None."""
        if has_sign and _UNFINISHED_BAR.search(text):
            return None
        is_error = self._note_error(rank, text, has_sign)
        if has_sign and not is_error and _is_nccl_detail(text):
            self._nccl_details += 1
            return None
        shown = self._named(rank, text)
        limit = 2 * self.limit if is_error or is_progress else self.limit
        if self._shown > limit:
            return self._leave_out(limit)
        self._shown += len(shown)
        return shown

    def _named(self, rank: int | None, text: str) -> str:
        return f"[{self.host}] {text}" if rank is None else f"[{self.host} rank {rank}] {text}"

    def _note_error(self, rank: int | None, text: str, has_sign: bool) -> bool:
        """Keep the first error, of a traceback its last line; return whether this is an error."""
        in_traceback = self._traceback_of == (rank,)
        if not (has_sign or in_traceback):
            return False
        text = _RANK_AGAIN.sub("", text)
        begins = text.startswith(_TRACEBACK)
        is_error = has_sign and bool(_ERROR.search(text))
        if in_traceback and not begins and _EXCEPTION.match(text):
            self.first_error = None if _TERMINATED.search(text) else self._named(rank, text)
            self._traceback_of = None
        elif is_error and self.first_error is None:
            self.first_error = self._named(rank, text)
            self._traceback_of = (rank,) if begins else None
        return is_error

    def _leave_out(self, limit: int) -> str | None:
        self._left_out += 1
        if limit in self._exceeded:
            return None
        self._exceeded.add(limit)
        rest = "only errors and progress are" if limit == self.limit else "nothing is"
        return f"[{self.host}] more than {limit / 1e6:.0f} MB of log: {rest} shown from here on"


def _is_nccl_detail(text: str) -> bool:
    return bool(_NCCL_DETAIL.search(text)) and not _NCCL_SUMMARY.search(text)
