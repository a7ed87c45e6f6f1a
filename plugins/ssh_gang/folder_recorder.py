"""A recorder that needs nothing but a folder: logs as they were printed, numbers as JSON lines."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from pydantic import JsonValue

from ssh_gang.gpus import Gpu
from ssh_gang.milestone import Milestone
from ssh_gang.progress import Progress
from ssh_gang.ranks import RankReport


class FolderRecorder:
    """A `GangRecorder` for one gang.

    It writes `progress.jsonl`, `gpus.jsonl`, `milestones.jsonl`, `ranks.jsonl`, `hosts.json`
    and `logs/<gang>.<attempt>.<host>.log`.

    Args:
        folder: Where the files are written; made when the first one is.
        gang: Name of the gang; log files are named after it.
    """

    def __init__(self, folder: str | Path, gang: str) -> None:
        self.folder = Path(folder)
        self.gang = gang
        self._last_step: dict[str, int] = {}

    def progress(self, attempt: str, at: float, progress: Progress) -> None:
        """Append the step to `progress.jsonl`, unless an earlier watcher has done so."""
        if attempt not in self._last_step:
            last = self.last_progress(attempt)
            self._last_step[attempt] = last.step if last else 0
        if progress.step <= self._last_step[attempt]:
            return
        self._append("progress", {"attempt": attempt, "at": at, "progress": progress.model_dump()})
        self._last_step[attempt] = progress.step

    def gpu_samples(self, attempt: str, at: float, host: str, samples: Sequence[Gpu]) -> None:
        """Append the samples to `gpus.jsonl`."""
        gpus: list[JsonValue] = [sample.model_dump() for sample in samples]
        self._append("gpus", {"attempt": attempt, "at": at, "host": host, "gpus": gpus})

    def rank_reports(self, attempt: str, host: str, reports: Sequence[RankReport]) -> None:
        """Append the reports to `ranks.jsonl`."""
        ranks: list[JsonValue] = [report.model_dump() for report in reports]
        self._append("ranks", {"attempt": attempt, "host": host, "ranks": ranks})

    def host_states(self, attempt: str, at: float, states: Mapping[str, str]) -> None:
        """Write `hosts.json`, whole or not at all: a reader never sees half a file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=self.folder, prefix="hosts.json")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(dict(states), file, ensure_ascii=False, indent=1)
            Path(temporary).replace(self.folder / "hosts.json")
        except OSError:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise

    def milestone(self, attempt: str, milestone: Milestone) -> None:
        """Append the milestone to `milestones.jsonl`, unless it is there."""
        if any(
            line["attempt"] == attempt and _key(line) == milestone.key for line in self._lines("milestones")
        ):
            return
        self._append("milestones", {"attempt": attempt, "milestone": milestone.model_dump(mode="json")})

    def output(self, attempt: str, host: str, offset: int, data: bytes) -> None:
        """Write the bytes at their offset in the host's log file."""
        path = self.log_path(attempt, host)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.seek(offset)
            file.write(data)

    def last_progress(self, attempt: str) -> Progress | None:
        """Return the last line of `progress.jsonl`, where it belongs to this attempt."""
        last = next(reversed(self._lines("progress")), None)
        if last is None or last["attempt"] != attempt:
            return None
        return Progress.model_validate(last["progress"])

    def log_path(self, attempt: str, host: str) -> Path:
        """Return the file that holds the whole log of one host."""
        return self.folder / "logs" / f"{self.gang}.{attempt}.{host}.log"

    def _lines(self, name: str) -> list[dict[str, Any]]:
        """What `_append` has added, without lines that were cut short."""
        try:
            text = (self.folder / f"{name}.jsonl").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        lines = []
        # Not splitlines: a reason may hold other line separators than this one.
        for line in text.split("\n"):
            with contextlib.suppress(json.JSONDecodeError):
                lines.append(json.loads(line))
        return lines

    def _append(self, name: str, value: dict[str, JsonValue]) -> None:
        """Add one line in one call, so that two writers do not mix."""
        self.folder.mkdir(parents=True, exist_ok=True)
        line = json.dumps(value, ensure_ascii=False).encode() + b"\n"
        with (self.folder / f"{name}.jsonl").open("a+b") as file:
            file.write(b"\n" + line if _is_cut_short(file) else line)


def _is_cut_short(file: IO[bytes]) -> bool:
    """Whether the last line has no end, because the disk was full when it was written."""
    if not file.seek(0, os.SEEK_END):
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"


def _key(line: dict[str, Any]) -> tuple[str, str, int]:
    return Milestone.model_validate(line["milestone"]).key
