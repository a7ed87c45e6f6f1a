"""What deploy/backup.sh and deploy/restore.sh refuse, and that a failure leaves nothing; without an engine.

tests/deploy/test_year.py makes a backup of a deployment and restores it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from sqltune.records.database import HEAD
from tests.conftest import ROOT

DOCKER = """\
#!/usr/bin/env bash
# Answers what $ANSWERS says, a line each: a pattern of the command line, and what is run for it.
echo "$*" >>"$CALLS"
while IFS='|' read -r pattern answer; do
  if [[ "$*" == $pattern ]]; then
    eval "$answer"
    exit
  fi
done <<<"$ANSWERS"
"""
RUNNING = "compose ps*|printf 'postgres\\napi-server\\nmlflow\\n'"
NAMED = "compose * config|echo name: team"


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A clone, as far as the scripts look at it."""
    for path in ("deploy", "include/configs/clusters"):
        shutil.copytree(ROOT / path, tmp_path / "clone" / path)
    for path in ("docker-compose.yaml", "pyproject.toml", "plugins/sqltune/records/database.py"):
        (tmp_path / "clone" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / "clone" / path)
    return tmp_path / "clone"


@pytest.fixture
def archive(tmp_path) -> Path:
    return pack(tmp_path, HEAD)


def pack(folder: Path, schema: str) -> Path:
    """An archive as deploy/backup.sh makes it, with nothing in its databases."""
    parts = folder / "parts"
    parts.mkdir()
    (parts / "MANIFEST").write_text(f"made=now\nsqltune=9\ncommit=abc\nsqltune_schema={schema}\n")
    (folder / ".env").write_text("POSTGRES_PASSWORD=x\n")
    for name in ("files", "logs", "mlflow"):
        with tarfile.open(parts / f"{name}.tar.gz", "w:gz") as tar:
            tar.add(folder / ".env", ".env")
    for name in ("airflow", "sqltune"):
        (parts / f"{name}.dump").write_bytes(b"PGDMP" * 1000)
    names = sorted(path.name for path in parts.iterdir())
    sums = subprocess.run(["sha256sum", *names], cwd=parts, capture_output=True, check=True).stdout
    (parts / "SHA256SUMS").write_bytes(sums)
    with tarfile.open(folder / "backup.tar", "w") as tar:
        for name in ["SHA256SUMS", *names]:
            tar.add(parts / name, name)
    return folder / "backup.tar"


def run(
    checkout: Path, script: str, *arguments: object, answers: tuple[str, ...] = ()
) -> tuple[int, str, list[str]]:
    """Run a script; its exit status, what it says, and what it has asked of Docker."""
    programs, calls = checkout.parent / "bin", checkout.parent / "calls"
    programs.mkdir(exist_ok=True)
    (programs / "docker").write_text(DOCKER)
    (programs / "docker").chmod(0o755)
    calls.write_text("")
    env = os.environ | {"CALLS": str(calls), "ANSWERS": "\n".join(answers)}
    env["PATH"] = f"{programs}:{env['PATH']}"
    done = subprocess.run(
        ["bash", checkout / "deploy" / script, *map(str, arguments)],
        cwd=checkout,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr, calls.read_text().splitlines()


def contents(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", [".env", "airflow.env", "docker-compose.override.yaml", "ssh"])
def test_a_restore_refuses_a_checkout_with_a_deployment(checkout, archive, name):
    (checkout / name).write_text("mine")
    status, said, asked = run(checkout, "restore.sh", archive)
    assert status == 1
    assert f"/{name} is there, so this checkout has a deployment: restore into a fresh clone" in said
    assert asked == []
    assert (checkout / name).read_text() == "mine"


@pytest.mark.parametrize("part", ["sqltune.dump", "MANIFEST"])
def test_a_restore_refuses_a_damaged_archive(checkout, archive, part):
    with tarfile.open(archive) as tar:
        at = tar.getmember(part).offset_data
    content = bytearray(archive.read_bytes())
    content[at + 1] ^= 1
    archive.write_bytes(content)
    before = contents(checkout)
    status, said, asked = run(checkout, "restore.sh", archive)
    assert status == 1
    assert f"{part}: FAILED" in said
    assert "is damaged, see above: copy it again, or take another one" in said
    assert (asked, contents(checkout)) == ([], before)


def test_a_restore_refuses_an_archive_that_was_cut_off(checkout, archive):
    archive.write_bytes(archive.read_bytes()[:8000])
    before = contents(checkout)
    status, said, asked = run(checkout, "restore.sh", archive)
    assert status == 1
    assert "is no whole archive of deploy/backup.sh: copy it again" in said
    assert (asked, contents(checkout)) == ([], before)


def test_a_restore_refuses_records_that_a_newer_version_made(checkout, tmp_path):
    status, said, asked = run(checkout, "restore.sh", pack(tmp_path, "9999"))
    assert status == 1
    assert f"has schema 9999 of the records, this checkout expects {HEAD}: check out what it was" in said
    assert asked == []


def test_a_restore_refuses_to_touch_the_volumes_of_a_deployment(checkout, archive):
    before = contents(checkout)
    volumes = "volume ls *project=team|printf 'team_logs\\nteam_postgres\\n'"
    status, said, asked = run(checkout, "restore.sh", archive, answers=(NAMED, volumes))
    assert status == 1
    assert "there are volumes of a deployment team (team_logs, team_postgres): where nobody needs" in said
    assert not [line for line in asked if " up " in line or " down" in line]
    assert contents(checkout) == before


def test_a_restore_refuses_a_database_with_tables(checkout, archive):
    tables = "compose *psql*|echo 12"
    status, said, asked = run(checkout, "restore.sh", archive, answers=(NAMED, tables))
    assert status == 1
    assert "database airflow has 12 tables already: restore into an empty PostgreSQL" in said
    assert not [line for line in asked if "--volumes" in line]


@pytest.mark.parametrize("fails", ["createdb", "pg_restore*sqltune", "run*mlflow"])
def test_a_restore_that_fails_removes_what_it_has_made(checkout, archive, fails):
    before = contents(checkout)
    answers = (NAMED, "compose *psql*|echo 0", f"compose *{fails}*|cat >/dev/null; exit 3")
    status, said, asked = run(checkout, "restore.sh", archive, answers=answers)
    assert status == 3
    assert "restore: failed; removing what it has made" in said
    assert asked[-1].endswith("down --volumes")
    assert contents(checkout) == before


def test_a_backup_refuses_a_checkout_without_settings(checkout):
    status, said, _ = run(checkout, "backup.sh")
    assert status == 1
    assert f"there is no .env in {checkout}: run this in the checkout that the deployment runs from" in said


def test_a_backup_names_a_service_that_does_not_run(checkout):
    (checkout / ".env").touch()
    ps = "compose ps*|printf 'postgres\\napi-server\\n'"
    status, said, _ = run(checkout, "backup.sh", answers=(ps,))
    assert status == 1
    assert "mlflow is not running here, and holds a part of the backup: docker compose up -d mlflow" in said


@pytest.mark.parametrize(
    "fails", ["psql*alembic", "pg_dump*sqltune", "pg_restore", "api-server sh", "mlflow"]
)
def test_a_backup_that_fails_leaves_no_archive(checkout, tmp_path, fails):
    (checkout / ".env").touch()
    answers = (RUNNING, f"compose exec*{fails}*|cat >/dev/null; exit 3")
    status, said, _ = run(checkout, "backup.sh", tmp_path / "kept", answers=answers)
    assert status != 0
    assert "backup: failed; there is no archive" in said
    assert contents(tmp_path / "kept") == []
