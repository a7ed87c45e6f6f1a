"""What ranks print: lines for the task's log, the first error, and whose rank failed first."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from ssh_gang.state import describe_exit

_RANK = re.compile(r"\[rank (\d+)\]:")
_BAR = re.compile(r"\b\d?\d%\|")
"""A progress bar on its way; at 100 % it has something to say."""
_NOISE = re.compile(r"\bNCCL (INFO|TRACE)\b")
# Which transport NCCL chose is the one thing everybody looks for in its noise.
_NEWS = re.compile(r"NCCL INFO (Using network|NCCL version|NET/\w+ : Using|.*Init COMPLETE)")
_ERROR = re.compile(
    r"^Traceback \(most recent call last\)|^\s*[\w.]*(Error|Exception|Interrupt)\b(:|$)|\bNCCL WARN\b|\bout of memory\b|Segmentation fault|No space left on device|\bKilled\b"
)
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
"""Without one of these a line is none of the above: looked for in all lines at once, since a rank may print a million of them."""


class Lines:
    """Bytes as they come to whole lines; a character is never cut, broken UTF-8 becomes the replacement character."""

    LONGEST = 4000
    """Characters of a line that are shown."""
    ENDLESS = 1024 * 1024
    """Bytes without a newline that are taken for a line."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def held(self) -> int:
        """Bytes of the line that is not whole yet."""
        return len(self._rest)

    def feed(self, data: bytes, final: bool = False) -> list[str]:
        """The lines that are whole now (all that is left with `final`). Progress bars that rewrite their line keep the last state."""
        end = (self._rest + data).rpartition(b"\n") if b"\n" in data else (b"", b"", self._rest + data)
        whole, newline, self._rest = end
        lines = whole.decode(errors="replace").split("\n") if newline else []
        if (final and self._rest) or len(self._rest) > self.ENDLESS:
            lines.append(self._rest.decode(errors="replace"))
            self._rest = b""
        if b"\r" in data:
            lines = [line.rstrip("\r").rpartition("\r")[2] for line in lines]
        return [line[: self.LONGEST] for line in lines]


def split_ranks(line: str) -> list[tuple[int | None, str]]:
    """What each rank said in a line, as torchrun passed it on.

    torchrun reads a rank's file while the rank writes it: a line that it found half written gets a rank in front of its other half
    as well, and another rank's line may stand between the two.
    """
    if (
        line.startswith("[rank ")
        and line.find("[rank ", 6) < 0
        and (end := line.find("]:")) > 0
        and line[6:end].isdigit()
    ):
        return [(int(line[6:end]), line[end + 2 :])] if line[end + 2 :].strip() else []
    parts = _RANK.split(line)
    said: list[tuple[int | None, str]] = [(None, parts[0])]
    for rank, text in zip(parts[1::2], parts[2::2], strict=True):
        if said[-1][0] == int(rank):
            said[-1] = (int(rank), said[-1][1] + text)
        else:
            said.append((int(rank), text))
    return [(rank, text) for rank, text in said if text.strip()]


class Teller:
    """Chooses what of a host's output goes to the task's log; the whole of it is in the run's folder.

    Shown is every line, with host and rank in front, except progress bars on their way, NCCL's information (counted) and what is beyond `limit` bytes a host:
    from there on errors and progress alone, so that a rank that logs without end does not bury the triggerer.
    """

    LIMIT = 16 * 1024 * 1024
    TOGETHER = 200
    """Lines in one log entry when many come at once: entries cost the triggerer more than bytes."""

    def __init__(self, host: str, limit: int = LIMIT) -> None:
        self.host, self.limit = host, limit
        self.first_error: str | None = None
        self._shown = self._noise = self._left_out = 0

    def tell(self, lines: list[str], progress: Collection[int] = ()) -> Iterator[str]:
        """Log entries for lines; `progress` are the positions of lines that tell of a step."""
        text = "\n".join(lines)
        signs = [sign for sign in _SIGNS if sign in text]
        if self._shown > self.limit and not signs and not progress:
            self._left_out += len(lines)
            return
        entry: list[str] = []
        for at, line in enumerate(lines):
            for rank, said in split_ranks(line):
                shown = self._one(rank, said, any(sign in said for sign in signs), at in progress)
                if shown:
                    entry.append(shown)
            if len(entry) >= self.TOGETHER:
                yield "\n".join(entry)
                entry = []
        yield from entry if len(entry) <= 20 else ["\n".join(entry)]

    def _one(self, rank: int | None, said: str, has_sign: bool, is_progress: bool) -> str | None:
        """A line as it is shown, or None."""
        is_error = has_sign and bool(_ERROR.search(said))
        if has_sign and _BAR.search(said):
            return None
        if has_sign and _NOISE.search(said) and not is_error and not _NEWS.search(said):
            self._noise += 1
            return None
        who = f"[{self.host}]" if rank is None else f"[{self.host} rank {rank}]"
        if is_error and self.first_error is None:
            self.first_error = f"{who} {said}"
        if self._shown > self.limit and not is_error and not is_progress:
            self._left_out += 1
            return (
                f"[{self.host}] more than {self.limit / 1e6:.0f} MB of log: from here on errors and progress alone"
                if self._left_out == 1
                else None
            )
        self._shown += len(said)
        return f"{who} {said}"

    def last_words(self) -> Iterator[str]:
        """What was folded or left out, in numbers."""
        if self._noise:
            yield f"[{self.host}] {self._noise} lines of NCCL's information folded"
        if self._left_out:
            yield f"[{self.host}] {self._left_out} lines not shown"


@dataclass(frozen=True)
class RankFailure:
    """The rank that torchrun on one host saw fail first."""

    rank: int | None
    code: int
    """Exit code, or minus the signal."""
    at: float | None
    """When, by the host's clock, in seconds since the epoch."""

    def __str__(self) -> str:
        return f"rank {'?' if self.rank is None else self.rank}: {describe_exit(self.code)}"


# E1123 08:10:11.123456 4711 torch/distributed/elastic/multiprocessing/api.py:882] failed (exitcode: -9) local_rank: 0 (pid: 4720) of binary: …
_FAILED = re.compile(
    r"^E(\d{4} \d\d:\d\d:\d\d\.\d+) .*failed \(exitcode: (-?\d+)\) local_rank: (\d+) \(pid: \d+\)"
)
_ROOT = re.compile(
    r"Root Cause \(first observed failure\):.*?^\s*rank\s*: (\d+) \(local_rank: (\d+)\)\s*$.*?^\s*exitcode\s*: (-?\d+)",
    re.S | re.M,
)


def rank_failure(output: str, near: float) -> RankFailure | None:
    """Whose failure ended torchrun, from the end of its output: its summary, and the moment from the line that told it first.

    torchrun writes that moment without a year or a zone: `near` is a moment in the same host's time (when it ended), and of all
    hours of difference the one is taken that brings the two together.
    """
    root = _ROOT.search(output)
    first = next((m for line in output.splitlines() if (m := _FAILED.match(line))), None)
    if root is None and first is None:
        return None
    at = None
    if first:
        year = datetime.fromtimestamp(near, UTC).year
        naive = datetime.strptime(f"{year} {first[1]}", "%Y %m%d %H:%M:%S.%f").replace(tzinfo=UTC).timestamp()
        quarter = 900.0
        at = naive + round((near - naive) / quarter) * quarter
    rank = int(root[1]) if root else None
    return RankFailure(rank, int(root[3]) if root else int(first[2]), at)  # type: ignore[index]
