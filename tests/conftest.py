"""Fixtures that several tests share: small real servers instead of patches."""

from __future__ import annotations

import difflib
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.network_guard import only_local_connections
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[1]
BASE = Path(os.environ.get("SQLTUNE_LAB_DIR", ROOT / ".lab"))
NODE_PYTHON = BASE / "node-env" / "bin" / "python"

# Set before anything imports Airflow: a home of the tests' own, never the user's; each process of
# pytest-xdist has its own in it.
os.environ.setdefault("AIRFLOW_HOME", str(BASE / "test-airflow"))
if process := os.environ.get("PYTEST_XDIST_WORKER"):
    os.environ["AIRFLOW_HOME"] += f"/{process}"
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
os.environ.setdefault("AIRFLOW__CORE__UNIT_TEST_MODE", "True")


SLOW_FIXTURES = {"browser", "lab", "node_python", "served", "sshds", "trained", "vllm_python"}
"""Fixtures that start hosts, Airflow's components, the node environment's servers or a browser."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test as slow that needs hosts, Airflow's components, the node environment or a browser."""
    for item in items:
        if SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share the tests out among the processes of `pytest -n`."""
    from tests.scheduling import ByFile

    return ByFile(config, log)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="Rewrite the golden files with what the code produces now.",
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with `golden/<name>` beside the test file; `pytest --update-golden` rewrites it."""

    def compare(name: str, text: str) -> None:
        file = request.path.parent / "golden" / name
        if request.config.getoption("--update-golden"):
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
            return
        expected = file.read_text() if file.exists() else ""
        difference = difflib.unified_diff(
            expected.splitlines(), text.splitlines(), f"golden/{name}", "now", lineterm=""
        )
        if text != expected:
            pytest.fail(
                "\n".join([*difference, "if this is intended: pytest --update-golden"]), pytrace=False
            )

    return compare


def free_port() -> int:
    """A port on which no process listens.

    It is below those that the kernel gives to connections (32768 and up): one of these may be taken again
    before a server listens there.
    """
    while True:
        port = random.randint(20_000, 31_900)
        with socket.socket() as s, suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port


def shared_data(name: str) -> Path:
    """A folder of third-party data, or a skip with the reason."""
    folder = Path(os.environ.get("SQLTUNE_DATA", ROOT.parent / "shared" / "data")) / name
    if not folder.exists():
        pytest.skip(f"{name} is not here: set SQLTUNE_DATA to the folder that holds it")
    return folder


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """An ASGI application, served for real; its address."""
    import uvicorn

    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, 20)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="session")
def hub() -> Iterator[str]:
    """The lab's hub; its address."""
    from lab.hub import create_app
    from lab.repositories import repositories

    with serving(create_app(repositories())) as url:
        yield url


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A real S3 server with a bucket `logs`; the environment variables with which clients find it."""
    url = f"http://127.0.0.1:{free_port()}"
    port = url.rpartition(":")[2]
    with (tmp_path_factory.mktemp("s3") / "log").open("w") as log:
        server = subprocess.Popen(
            [Path(sys.executable).parent / "moto_server", "-H", "127.0.0.1", "-p", port],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    wait_until(
        lambda: httpx.put(f"{url}/logs", trust_env=False).status_code == 200, not_yet=httpx.TransportError
    )
    yield {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    server.terminate()
    server.wait(30)


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the records' tables; copying it is faster than migrating again."""
    from tests.databases import migrated

    path = tmp_path_factory.mktemp("migrated") / "records.db"
    migrated(f"sqlite:///{path}")
    return path


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, migrated_sqlite: Path) -> Iterator[Path]:
    """Empty records: a folder, and the SQLite database in it."""
    from sqltune.records import database

    home = tmp_path / "records"
    home.mkdir()
    shutil.copy(migrated_sqlite, home / "records.db")
    monkeypatch.setenv("SQLTUNE_HOME", str(home))
    monkeypatch.delenv("SQLTUNE_DATABASE_URL", raising=False)
    monkeypatch.delenv("SQLTUNE_LOG_STORE", raising=False)
    yield home
    database.close()


@pytest.fixture
def node_python() -> Path:
    """Python of the node environment; `make test` makes it."""
    if not NODE_PYTHON.exists():
        pytest.fail(f"{NODE_PYTHON} is not there: make setup-dev")
    return NODE_PYTHON


def bash(script: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    """Run a script as a host's shell would."""
    return subprocess.run(
        ["bash", "-s"],
        input=script.encode(),
        capture_output=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **env},
    )


__all__ = ["bash", "free_port", "only_local_connections", "serving", "shared_data"]
