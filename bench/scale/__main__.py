"""What ten or a hundred times more of everything takes; prints one JSON object a line.

    make bench-scale                        all measures, a quarter of an hour
    python -m bench.scale wide history      some of them

wide: one gang on 64 hosts. many: 100 gangs of 2 hosts, watched by one process. history: the page's API after
1,000 runs. suite: 10,000 questions, real rows of DuSQL (SQLTUNE_DATA names their folder). nights: those of 16
clusters in a real Airflow, all at the same second.

Hosts are real sshd processes of this machine, databases are a real PostgreSQL in memory. Each measure runs in
a process of its own, so that none begins with the memory of another.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]

from lab.paths import BASE  # noqa: E402

# Set before anything imports Airflow.
os.environ.setdefault("AIRFLOW_HOME", str(BASE / "test-airflow"))

MEASURES = ("wide", "many", "history", "suite", "nights")
"""Modules of this package, each with a function `measure`."""


def main() -> int:
    """Run the measures; 1 if one of them failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=f"of {', '.join(MEASURES)}; or all")
    names = parser.parse_args().measures or MEASURES
    if unknown := set(names) - set(MEASURES):
        parser.error(f"no measure {', '.join(sorted(unknown))}: choose from {', '.join(MEASURES)}")
    if len(names) == 1:
        # What goes wrong is an exception; the rest would stand between the results.
        logging.disable(logging.CRITICAL)
        importlib.import_module(f"bench.scale.{names[0]}").measure()
        return 0
    codes = [
        subprocess.run([sys.executable, "-m", "bench.scale", name], cwd=ROOT).returncode for name in names
    ]
    return 1 if any(codes) else 0


if __name__ == "__main__":
    sys.exit(main())
