"""The command `sqltune score` for an environment in which the package is not installed.

python -m sqltune.evaluation.scoring GOLD PREDICTIONS [--databases DIR] [--json]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sqltune.errors import SqltuneError
from sqltune.evaluation.score_files import score_files


def main() -> int:
    """Read the command line, print the score, and return the exit code: 2 when the files do not fit."""
    parser = argparse.ArgumentParser(
        prog="python -m sqltune.evaluation.scoring", description=score_files.__doc__
    )
    parser.add_argument("gold", type=Path)
    parser.add_argument("predictions", type=Path)
    parser.add_argument("--databases", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        print(score_files(options.gold, options.predictions, options.databases, options.json))
    except SqltuneError as e:
        print(e, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
