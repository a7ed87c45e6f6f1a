r"""Line protocol between a host and its watcher: every line that one side writes and the other reads.

A line from a host is a keyword, or a keyword, `=` and a value. Times are seconds since the epoch on the
host's clock.

| command | line | meaning |
|---|---|---|
| prepare | `prepared` | the host is ready and waits for the start signal |
| prepare | `claimed=ATTEMPT` | another attempt owns the gang's folder |
| prepare, wait until free | `busy=MARKER` | another exclusive gang runs on the host |
| prepare | `refused=REASON` | the host cannot run the member; the claim was given back |
| prepare | `started` | the start signal was passed on |
| wait until free | `free` | no other exclusive gang runs on the host |
| query state, follow | `state=absent` | the gang has no folder on the host |
| query state, follow | `state=present FIELD=VALUE …` | the fields of `JobState`, and `now`, the host's time |
| follow | `from=OFFSET` | byte of the output at which the stream on stdout begins |
| follow | `acknowledged=OFFSET` | the host has noted that the output up to this byte need not be sent again |
| prepare, follow | `clock=SECONDS` | answer to `time` |
| follow | `gpu=LINE\|LINE…` | what nvidia-smi or rocm-smi printed, its lines joined by a bar |
| follow | `ranks=RANK FIELD=VALUE…\|…` | what each rank has reported of itself last: fields of `RankReport` |
| stop | `stopped=COUNT` | processes of the attempt that are left |
| stop | `fenced=ATTEMPT` | a newer attempt owns the folder; nothing was touched |
| list gangs | `running=NAME ATTEMPT KEY=VALUE…` | a gang with a live process, and its quoted owner fields |
| free space | `space=MIB FOLDER` | free disk under a folder that the member writes to |

Requests of the watcher, a line each: `time` (prepare, follow); `start`, anything else cancels (prepare);
`acknowledge OFFSET` and `alive` (follow).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ssh_gang import gpus, ranks
from ssh_gang.gpus import Gpu
from ssh_gang.ranks import RankReport
from ssh_gang.state import JobState
from ssh_gang.text import decode, printable

LAST_SECOND = 2**32
"""No host's clock is beyond this, in 2106; what is calculated from such times is a date."""

LAST_BYTE = 2**62
"""No output is longer."""


@dataclass(frozen=True)
class Prepared:
    """The host is ready and waits for the start signal."""


@dataclass(frozen=True)
class Claimed:
    """Another attempt owns the gang's folder on this host."""

    attempt: str


@dataclass(frozen=True)
class Busy:
    """Another exclusive gang runs on this host."""

    marker: str


@dataclass(frozen=True)
class Refused:
    """The host cannot run the member."""

    reason: str


@dataclass(frozen=True)
class Started:
    """The start signal was passed on to the waiting process."""


@dataclass(frozen=True)
class Free:
    """No other exclusive gang runs on this host."""


@dataclass(frozen=True)
class StateReport:
    """The state of the gang on this host, and the host's time when it was read (None where it is absent)."""

    state: JobState
    host_time: float | None


@dataclass(frozen=True)
class OutputStart:
    """Byte of the output at which the stream on stdout begins."""

    offset: int


@dataclass(frozen=True)
class Acknowledged:
    """The host has noted that its output up to this byte need not be sent again."""

    offset: int


@dataclass(frozen=True)
class Clock:
    """The host's time, in answer to `request_time`."""

    host_time: float


@dataclass(frozen=True)
class GpuSamples:
    """The host's GPUs at one moment; none where the tool printed an error."""

    gpus: tuple[Gpu, ...]


@dataclass(frozen=True)
class RankReports:
    """What each rank of the host has reported of itself last."""

    reports: tuple[RankReport, ...]


@dataclass(frozen=True)
class Stopped:
    """Processes of the attempt that are left after a stop, those that still hold a GPU among them."""

    processes_left: int


@dataclass(frozen=True)
class Fenced:
    """A newer attempt owns the folder, so that nothing was stopped."""

    newer_attempt: str


@dataclass(frozen=True)
class RunningGang:
    """A gang with a live process on this host; no owner where its folder is another installation's."""

    name: str
    attempt: str
    owner: Mapping[str, str]


@dataclass(frozen=True)
class FreeSpace:
    """Free disk, in MiB, under a folder."""

    mebibytes: int
    folder: str


@dataclass(frozen=True)
class Unrecognised:
    """A line that is not of this protocol, such as a warning of the host's shell."""

    text: str


Message = (
    Prepared
    | Claimed
    | Busy
    | Refused
    | Started
    | Free
    | StateReport
    | OutputStart
    | Acknowledged
    | Clock
    | GpuSamples
    | RankReports
    | Stopped
    | Fenced
    | RunningGang
    | FreeSpace
    | Unrecognised
)


def request_time() -> bytes:
    """Request a host's time; the answer is `Clock`."""
    return b"time\n"


def start_signal() -> bytes:
    """Start the member that a host has prepared; the answer is `Started`."""
    return b"start\n"


def acknowledge(offset: int) -> bytes:
    """Report that the output up to this byte was forwarded and recorded; the answer is `Acknowledged`."""
    return b"acknowledge %d\n" % offset


def still_watching() -> bytes:
    """Keep the follow command from ending: it does when it hears nothing for two minutes."""
    return b"alive\n"


def parse_line(line: str | bytes) -> Message:
    """The message that a host's line holds.

    Raises:
        ValueError: the line begins like one of the protocol and its value is cut short or malformed.
    """
    text = (decode(line) if isinstance(line, bytes) else printable(line)).strip()
    keyword, _, value = text.partition("=")
    parse = _WITH_VALUE.get(keyword) if "=" in text else _WITHOUT_VALUE.get(text)
    if parse is None:
        return Unrecognised(text)
    try:
        return parse(value)
    except Exception as e:  # a host may send anything
        raise ValueError(f"malformed line from the host ({type(e).__name__}: {e}): {text[:200]!r}") from e


def parse_lines(output: str | bytes) -> Iterator[Message]:
    """The messages in a command's output, a line each."""
    return map(parse_line, output.splitlines())


_FIELD = re.compile(r"(\w+)=(\S*)")
_EXIT_STATUS = re.compile(r"[0-9]{0,3}|not_started|stopped|refused")


def _state(value: str) -> StateReport:
    presence, _, rest = value.partition(" ")
    if presence == "absent":
        return StateReport(JobState(presence="absent"), None)
    fields = dict(_FIELD.findall(rest))
    state = JobState(
        presence="present",
        attempt=fields["attempt"],
        fencing_token=int(fields["fencing_token"] or 0),
        generation=int(fields["generation"] or 0),
        spec_hash=fields["spec_hash"],
        alive=fields["alive"] == "yes",
        rebooted=fields["boot"] == "other",
        started_at=_optional_seconds(fields["started"]),
        ranks_started=int(fields["ranks"]),
        exit_status=_exit_status(fields["exit"]),
        ended_at=_optional_seconds(fields["ended"]),
        output_size=_offset(fields["size"]) if fields["size"] else None,
    )
    return StateReport(state, _seconds(fields["now"]))


def _optional_seconds(text: str) -> float | None:
    return _seconds(text) if text else None


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= LAST_SECOND:
        raise ValueError(f"{text} is not a time")
    return seconds


def _offset(text: str) -> int:
    offset = int(text)
    if not 0 <= offset <= LAST_BYTE:
        raise ValueError(f"{text} is not a position in the output")
    return offset


def _exit_status(text: str) -> str:
    if not _EXIT_STATUS.fullmatch(text):
        raise ValueError(f"{text} is not an exit status")
    return text


def _running(value: str) -> RunningGang:
    name, attempt, *owner = value.split(" ", 2)
    try:
        pairs = [field.partition("=") for field in shlex.split(" ".join(owner))]
    except ValueError:
        # A truncated file names no owner, but the gang still has one.
        pairs = []
    return RunningGang(name, attempt, {key: text for key, _, text in pairs})


def _space(value: str) -> FreeSpace:
    mebibytes, _, folder = value.partition(" ")
    return FreeSpace(int(mebibytes), folder)


_WITHOUT_VALUE: dict[str, Callable[[str], Message]] = {
    "prepared": lambda _: Prepared(),
    "started": lambda _: Started(),
    "free": lambda _: Free(),
}

_WITH_VALUE: dict[str, Callable[[str], Message]] = {
    "claimed": Claimed,
    "busy": Busy,
    "refused": Refused,
    "state": _state,
    "from": lambda value: OutputStart(_offset(value)),
    "acknowledged": lambda value: Acknowledged(_offset(value)),
    "clock": lambda value: Clock(_seconds(value)),
    "gpu": lambda value: GpuSamples(tuple(gpus.parse(value.replace("|", "\n")))),
    "ranks": lambda value: RankReports(tuple(ranks.parse(value.replace("|", "\n")))),
    "stopped": lambda value: Stopped(int(value)),
    "fenced": Fenced,
    "running": _running,
    "space": _space,
}
