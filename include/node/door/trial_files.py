"""A trial's two files: what is tried (`trial.json`), and what was counted so far (`trial_counts.json`).

`serving.py` writes the first one; the door reads it at each request, and writes the second one, so that a
restart of the door goes on with the counts of the trial.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

FILE, COUNTS_FILE = "trial.json", "trial_counts.json"
"""Names of the files in the folder of the model servers."""
SHADOW, CANARY = "shadow", "canary"
"""The two kinds of a trial."""
_STEP = math.log(1.05)
"""Two neighbouring classes of latencies are 5 % apart."""
_SHORTEST = 1e-4
"""Seconds of the first class."""


@dataclass(frozen=True)
class Trial:
    """A candidate that is tried beside the model that is served.

    Attributes:
        id: What it is a trial of.
        mode: shadow: the candidate answers copies of requests, and nobody sees its answers. canary: it
            answers requests.
        name: Served name whose requests are tried.
        candidate: Served name of the candidate.
        share: Share of the requests, from 0 to 1.
        answer_within: Seconds for a copy's answer, and in a canary until the candidate's answer begins.
        began: When it began, in seconds since 1970; the counts are those of one beginning.
        until: When it ends by itself.
        model_hash: Hash of the candidate's model.
    """

    id: str
    mode: str
    name: str
    candidate: str
    share: float
    answer_within: float
    began: float = 0
    until: float = 0
    model_hash: str = ""

    @property
    def seconds_left(self) -> float:
        """Seconds until it ends; 0 when it has not begun, or has ended."""
        return max(0.0, self.until - time.time())

    def chooses(self, request: str) -> bool:
        """Whether a request, by its id, belongs to the candidate's share; the same each time."""
        number = int.from_bytes(hashlib.sha256(f"{self.id} {self.began} {request}".encode()).digest()[:8])
        return number < self.share * 2**64

    def write(self, folder: Path) -> None:
        """Write its file, readable by its user only."""
        _write(folder / FILE, asdict(self))


def read_trial(folder: Path) -> Trial | None:
    """The trial of a host, also one that has ended by itself; None where there is none.

    Raises:
        ValueError, TypeError, OSError: The file is no trial's.
    """
    try:
        content = json.loads((folder / FILE).read_text())
    except FileNotFoundError:
        return None
    # A newer version may have written it, with more fields.
    trial = Trial(**{f.name: content[f.name] for f in fields(Trial) if f.name in content})
    kinds = {f.name: (str,) if f.type == "str" else (int, float) for f in fields(Trial)}
    if wrong := [name for name, kind in kinds.items() if not isinstance(getattr(trial, name), kind)]:
        raise TypeError(f"{FILE}: {', '.join(wrong)}: of a wrong type")
    return trial


@dataclass
class Arm:
    """One of the two models of a trial: what became of its requests.

    Attributes:
        role: champion or candidate.
        version: Its version.
        answered: Requests that it answered.
        failed: Requests that it failed to answer; those that were at fault themselves are not counted.
        latencies: Number of answers by the class of their latency.
    """

    role: str
    version: str = ""
    answered: int = 0
    failed: int = 0
    latencies: dict[int, int] = field(default_factory=dict)

    def add(self, seconds: float) -> None:
        """Count an answer."""
        self.answered += 1
        number = round(math.log(max(seconds, _SHORTEST) / _SHORTEST) / _STEP)
        self.latencies[number] = self.latencies.get(number, 0) + 1

    @property
    def median(self) -> float | None:
        """The median of the latencies in seconds, within 2.5 %; None without an answer."""
        rest = self.answered / 2
        for number in sorted(self.latencies):
            rest -= self.latencies[number]
            if rest <= 0:
                return _SHORTEST * math.exp(number * _STEP)
        return None


@dataclass
class Counts:
    """What a trial has shown so far.

    Attributes:
        began: Of the trial that it belongs to.
        champion: The model that is served. In a shadow, the requests that were copied.
        candidate: The model that is tried.
        same: Copies of requests with temperature 0 to which both gave the same text.
        different: Those to which they gave another one.
        dropped: Copies that were not sent, as too many were on their way.
    """

    began: float
    champion: Arm = field(default_factory=lambda: Arm("champion"))
    candidate: Arm = field(default_factory=lambda: Arm("candidate"))
    same: int = 0
    different: int = 0
    dropped: int = 0

    def write(self, folder: Path) -> None:
        """Write their file."""
        _write(folder / COUNTS_FILE, asdict(self))


def read_counts(folder: Path, trial: Trial) -> Counts | None:
    """The counts of a trial; None where the door has written none of it."""
    try:
        content = json.loads((folder / COUNTS_FILE).read_text())
        if content["began"] != trial.began:
            return None
        champion, candidate = _arm(content.pop("champion")), _arm(content.pop("candidate"))
        return Counts(**content, champion=champion, candidate=candidate)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _arm(content: dict[str, Any]) -> Arm:
    # JSON's keys are texts.
    latencies = {int(number): count for number, count in content.pop("latencies").items()}
    return Arm(**content, latencies=latencies)


def _write(path: Path, content: dict[str, Any]) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(content))
    partial.rename(path)
