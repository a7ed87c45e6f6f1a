"""Write MLflow's database and artifacts to the output, as a tar: fed to the Python of MLflow's container.

SQLite's backup copies one consistent state while the server writes; a copy of the file would not.
"""

import sqlite3
import sys
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path

FOLDER = Path("/mlflow")

with tempfile.TemporaryDirectory() as temporary, tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as tar:
    copy = Path(temporary, "mlflow.db")
    with closing(sqlite3.connect(FOLDER / copy.name)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    tar.add(copy, copy.name)
    if (FOLDER / "artifacts").exists():
        tar.add(FOLDER / "artifacts", "artifacts")
