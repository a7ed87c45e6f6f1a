"""Run a program and append what it answers to a file, as a line of JSON.

recorder.py PROGRAM FILE [ARGUMENT ...]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

QUERY = "SQLTUNE_BENCH_QUERY"
"""Variable with the name of the query that the program is run for."""


def main(program: str, file: str, *arguments: str) -> int:
    """Pass the program's output and exit code on."""
    answer = subprocess.run([program, *arguments], capture_output=True, check=False)
    call = {
        "query": os.environ[QUERY],
        "command": [Path(program).name, *arguments],
        "exit_code": answer.returncode,
        "stdout": answer.stdout.decode(errors="replace"),
        "stderr": answer.stderr.decode(errors="replace"),
    }
    with Path(file).open("a", encoding="utf-8") as calls:
        calls.write(json.dumps(call) + "\n")
    sys.stdout.buffer.write(answer.stdout)
    sys.stderr.buffer.write(answer.stderr)
    return answer.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
