"""Every static check of the repository, two at a time: `make lint` and the pre-commit hook run it.

    python -m lab.lint [NAME ...]

Prints each check's time, and its output only when it fails. Without names, all checks run. Needs the tools of
requirements-dev.txt beside the running Python, no daemon, no network and no `.env`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
COMPOSE = Path(sysconfig.get_path("purelib"), "compose", "docker-compose")
"""Compose itself: the program of that name beside Python ends with 0 whatever Compose ends with."""
WORKERS = 2
"""Checks that run at the same time; mypy takes most of the time and keeps one core busy alone."""


@dataclass(frozen=True)
class Check:
    """One tool's command line, run in the repository's root.

    Attributes:
        name: What the report and the command line call it.
        command: The program, looked up beside the running Python, and its arguments.
        environment: Variables that are set for it.
    """

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How one check ended.

    Attributes:
        check: The check.
        passed: Whether it exited with 0.
        seconds: Wall-clock time.
        output: Its stdout and stderr together.
    """

    check: Check
    passed: bool
    seconds: float
    output: str


def checks() -> list[Check]:
    """All checks, the slowest first, so that the short ones run beside it."""
    return [
        Check("mypy", ["mypy", "plugins", "dags", "lab"]),
        # The scripts that are copied to the hosts are in one folder there and import each other by bare
        # names.
        Check(
            "mypy include/node",
            ["mypy", "--cache-dir", ".mypy_cache/node", *tracked("include/node/*.py")],
            {"MYPYPATH": "include/node:plugins"},
        ),
        Check("import-linter", ["lint-imports", "--no-cache", "--no-logo"], {"PYTHONPATH": "plugins"}),
        Check("ruff", ["ruff", "check", "."]),
        Check("ruff format", ["ruff", "format", "--check", "."]),
        # Golden files are generated from shell files that are checked themselves.
        Check("ShellCheck", ["shellcheck", *tracked("*.sh", ":!*/golden/*"), ".ci/run"]),
        Check("hadolint", ["hadolint", "Dockerfile"]),
        Check("licences", ["python", "-m", "lab.licences"]),
        Check("Compose", [str(COMPOSE), "config", "--quiet", "--no-env-resolution"], example_environment()),
    ]


def tracked(*patterns: str) -> list[str]:
    """Paths of tracked files that match the pathspecs."""
    listing = subprocess.run(
        ["git", "ls-files", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
    )
    # A deleted file stays in the index until the deletion is committed.
    return [path for path in listing.stdout.splitlines() if (ROOT / path).exists()]


def example_environment() -> dict[str, str]:
    """The variables of `.env.example`, each with a value, so that Compose can fill them in."""
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() or "example" for name, _, value in pairs}


def run(check: Check) -> Outcome:
    """Run one check to its end."""
    started = time.monotonic()
    program, *arguments = check.command
    finished = subprocess.run(
        [BIN / program, *arguments],
        cwd=ROOT,
        env=os.environ | check.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Outcome(check, finished.returncode == 0, time.monotonic() - started, finished.stdout)


def outcomes(selected: list[Check]) -> Iterator[Outcome]:
    """Run checks side by side; yields each as its turn comes."""
    with ThreadPoolExecutor(WORKERS) as pool:
        yield from pool.map(run, selected)


def select(names: list[str]) -> list[Check]:
    """The named checks, or all of them.

    Raises:
        SystemExit: a name belongs to no check; the message lists those that exist.
    """
    every = checks()
    unknown = set(names) - {check.name for check in every}
    if unknown:
        known = ", ".join(check.name for check in every)
        raise SystemExit(f"no check is called {', '.join(sorted(unknown))}; the checks are: {known}")
    return [check for check in every if not names or check.name in names]


def main(names: list[str]) -> int:
    """Run the checks and report them; 0 when all pass, else 1."""
    failed = 0
    for outcome in outcomes(select(names)):
        print(f"{'ok' if outcome.passed else 'FAILED':6}  {outcome.seconds:5.1f} s  {outcome.check.name}")
        if not outcome.passed:
            failed += 1
            print(outcome.output, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
