"""What Airflow pays to read each DAG file and the plugin: CPU seconds over `import airflow.sdk` alone.

    .lab/control-env/bin/python bench/parsing.py [TIMES]

Each file is imported in a fresh interpreter, in turn with one that imports nothing more, so that what else
the machine does meets all of them. For the plugin, Airflow's plugin manager is imported before. Compiled
files are kept; the first round, which writes them, does not count. Prints one JSON object a line: the median
of `over`, and of `sdk`, the CPU seconds of `import airflow.sdk` in the same interpreters.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
TIMES = 9
READ = """
import importlib.util, json, sys, time
import airflow.sdk
if sys.argv[1:] and sys.argv[1].endswith("_plugin.py"):
    import airflow.plugins_manager
began = time.process_time()
for file in sys.argv[1:]:
    spec = importlib.util.spec_from_file_location("read", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules["read"] = module
    spec.loader.exec_module(module)
print(json.dumps([began, time.process_time() - began]))
"""


def read(files: list[str], home: str) -> tuple[float, float]:
    """CPU seconds until `airflow.sdk` is imported, and those that the files take beyond."""
    removed = ("PYTHONDONTWRITEBYTECODE", "PYTHONPROFILEIMPORTTIME")
    environment = {name: value for name, value in os.environ.items() if name not in removed}
    environment |= {"AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    environment |= {"PYTHONPATH": str(ROOT / "plugins"), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-c", READ, *files], env=environment, check=True, capture_output=True, text=True
    )
    sdk, over = json.loads(done.stdout.splitlines()[-1])
    return sdk, over


def main(times: int) -> None:
    """Read every file `times` times, one after the other."""
    files = [*sorted((ROOT / "dags").glob("*.py")), ROOT / "plugins" / "sqltune_plugin.py"]
    cases: dict[str, list[str]] = {"nothing": [], **{file.name: [str(file)] for file in files}}
    with tempfile.TemporaryDirectory() as home:
        rounds = [{name: read(case, home) for name, case in cases.items()} for _ in range(times + 1)][1:]
    for name in cases:
        sdk, over = (round(median(one[name][part] for one in rounds), 3) for part in (0, 1))
        print(json.dumps({"measure": "read", "file": name, "sdk": sdk, "over": over}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else TIMES)
