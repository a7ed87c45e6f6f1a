"""The run's record: a folder of JSON files per run, on the machine Airflow's components share.

$SQLTUNE_HOME/runs/<run>/plan.json, before.json, after.json, verdict.json, state.json
                        /hosts.json, progress.jsonl, gpus.jsonl       while it trains: hosts, iterations, samples of the cards
                        /logs/<gang>.<attempt>.<host>.log             all that a host's ranks printed
$SQLTUNE_HOME/answers/<key>.json      answers by model, prompts and template
$SQLTUNE_HOME/champion.json, journal.jsonl
$SQLTUNE_HOME/installation            names these records on the hosts
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import uuid
from pathlib import Path
from typing import Any


def home() -> Path:
    """The folder of all records: SQLTUNE_HOME, else `sqltune` under AIRFLOW_HOME."""
    airflow = os.environ.get("AIRFLOW_HOME", "~/airflow")
    return Path(os.environ.get("SQLTUNE_HOME", f"{airflow}/sqltune")).expanduser()


def installation() -> str:
    """Names these records, and so the Airflow that keeps them, on hosts that others may use too: made once. Not Airflow's address, which is localhost:8080 for everybody."""
    path = home() / "installation"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(fd, "w", encoding="utf-8") as f:
            f.write(uuid.uuid4().hex)
        # Of two that make one at the same time, the first stays.
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
        os.unlink(temporary)
    return path.read_text(encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write whole or not at all: a reader never sees half a file, a crash leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(fd, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=1)
        f.flush()
        os.fsync(f.fileno())
    os.replace(temporary, path)


def read_json(path: Path, default: Any = None) -> Any:
    """The value in a file, or `default` where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default


def append_line(path: Path, value: Any) -> None:
    """Add one JSON line; a line is written in one call, so that two writers do not mix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as f:
        f.write(json.dumps(value, ensure_ascii=False) + "\n")


class Record:
    """One run's folder."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @classmethod
    def of(cls, run_key: str) -> Record:
        """The record of a run, by its folder name."""
        return cls(home() / "runs" / run_key)

    def put(self, name: str, value: Any) -> None:
        """Write `<name>.json`."""
        write_json(self.folder / f"{name}.json", value)

    def get(self, name: str, default: Any = None) -> Any:
        """Read `<name>.json`, or `default`."""
        return read_json(self.folder / f"{name}.json", default)

    def append(self, name: str, value: Any) -> None:
        """Add a line to `<name>.jsonl`."""
        append_line(self.folder / f"{name}.jsonl", value)

    def write_log(self, name: str, position: int, data: bytes) -> None:
        """Put a piece of a log where it belongs in `logs/<name>.log`: what comes twice is there once."""
        path = self.folder / "logs" / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644), "wb") as f:
            f.seek(position)
            f.write(data)

    def last(self, name: str) -> Any:
        """The last line of `<name>.jsonl`, or None."""
        try:
            lines = (self.folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return None
        return json.loads(lines[-1]) if lines else None


def trained_before(fingerprint: str) -> str | None:
    """The run that trained and judged this very plan, or None."""
    done = read_json(home() / "trained.json", {})
    return done.get(fingerprint)


def remember_trained(fingerprint: str, run_id: str) -> None:
    """Say that a run trained and judged this plan to the end. One run at a time writes this (max_active_runs=1)."""
    path = home() / "trained.json"
    write_json(path, read_json(path, {}) | {fingerprint: run_id})
