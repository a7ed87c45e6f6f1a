"""A gang on several hosts beside Airflow's operators and a person's terminals; prints one JSON object a line.

    make bench-gang                   all measures, a quarter of an hour
    python bench/gang.py skew logs    some of them

Every system does the same work on the same real sshd processes of this machine, in one process and one run:
`sqltune` (GangHook and Watch), two mapped SSHRemoteJobOperator tasks, two SSHOperator tasks, and `ssh` in as
many terminals. Airflow's scheduler is left out for all, since it costs each the same; the operators and
triggers are the real ones.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]

from lab import loopback  # noqa: E402
from lab.paths import BASE  # noqa: E402

# Set before anything imports Airflow.
os.environ.setdefault("AIRFLOW_HOME", str(BASE / "test-airflow"))

from bench.gang_measures import MEASURES  # noqa: E402
from bench.gang_output import capture_log  # noqa: E402


async def run(measures: Sequence[str]) -> None:
    """Start sixteen hosts and run the measures on them."""
    with tempfile.TemporaryDirectory(prefix="sqltune-bench-") as folder:
        hosts = loopback.start(Path(folder), "abcdefghijklmnop", ["MaxStartups 400", "MaxSessions 100"])
        for host in hosts:
            [(name, value)] = host.connection(Path(folder)).items()
            connection = json.loads(value)
            unchecked = {"key_file": connection["extra"]["key_file"], "no_host_key_check": True}
            os.environ[name] = value
            os.environ[f"{name}_UNCHECKED"] = json.dumps(connection | {"extra": unchecked})
        try:
            for measure in measures:
                await MEASURES[measure](hosts)
        finally:
            for host in hosts:
                host.stop()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("measures", nargs="*", choices=MEASURES, help="what to measure; all by default")
    measures = parser.parse_args().measures
    capture_log()
    asyncio.run(run(measures or list(MEASURES)))


if __name__ == "__main__":
    main()
