"""Scripts on a host: copied and run over real SSH."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sqltune import node
from sqltune.config.cluster import Host
from sqltune.config.plan import Site
from sqltune.errors import DatasetError
from sqltune.node_contracts.checkpoints import CHECKPOINTS, CheckpointsRequest
from sqltune.node_contracts.script import BAD_DATA
from ssh_gang.errors import HostError
from tests.conftest import BASE
from tests.plans import run_plan

REQUEST = CheckpointsRequest(action="list", folder="~/code/runs/r1/train")

pytestmark = pytest.mark.hosts(1)


@pytest.fixture
def host(sshds) -> Host:
    return Host(name=sshds[0].name, conn_id=sshds[0].conn_id, processes=1)


@pytest.fixture
def site(host) -> Site:
    """A site whose hosts have this Python as their node environment."""
    cluster = run_plan().cluster.model_copy(
        update={"hosts": [host], "node_env": str(BASE / "control-env"), "work_dir": "~/code"}
    )
    return Site(cluster_name="lab", cluster=cluster, code_version=node.bundle()[0])


@pytest.fixture
def code(site, host, sshds) -> Path:
    """The code folder on the host, after the copy."""
    asyncio.run(node.push(site, host))
    return sshds[0].folder / "home" / "code" / "code" / site.code_version


def replace(code: Path, text: str) -> None:
    """Put another script in the place of `checkpoints.py`."""
    (code / "checkpoints.py").write_text(text)


def test_a_script_answers(site, host, code):
    assert node.run(site, host, CHECKPOINTS, REQUEST).seals == []


def test_the_scripts_are_copied_once_for_each_version(site, host, code):
    (code / "checkpoints.py").unlink()
    asyncio.run(node.push(site, host))
    assert not (code / "checkpoints.py").exists()


def test_its_output_goes_to_the_log(site, host, code, caplog):
    caplog.set_level("INFO")
    replace(code, "print('hashing'); print('RESULT {}')")
    node.run(site, host, CHECKPOINTS, REQUEST)
    assert f"[{host.name}] hashing" in caplog.text


def test_the_environment_holds_secrets(site, host, code, caplog):
    caplog.set_level("INFO")
    replace(code, "import os; print(len(os.environ['KEY'])); print('RESULT {}')")
    node.run(site, host, CHECKPOINTS, REQUEST, env={"KEY": "sec'ret"})
    assert f"[{host.name}] 7" in caplog.text


def test_a_script_that_finds_bad_data_is_not_worth_a_retry(site, host, code):
    replace(code, f"import sys; print('the rows are wrong'); sys.exit({BAD_DATA})")
    with pytest.raises(DatasetError, match="the rows are wrong"):
        node.run(site, host, CHECKPOINTS, REQUEST)


def test_a_script_that_fails_is_quoted(site, host, code):
    replace(code, "raise SystemExit('the disk is full')")
    with pytest.raises(HostError, match=r"checkpoints.py ended with 1: the disk is full"):
        node.run(site, host, CHECKPOINTS, REQUEST)


def test_a_script_that_takes_too_long_is_ended(site, host, code):
    replace(code, "import time; time.sleep(60)")
    with pytest.raises(HostError, match="checkpoints.py took longer than 1 s"):
        node.run(site, host, CHECKPOINTS, REQUEST, time_limit=1)


def test_an_invalid_result_names_its_field(site, host, code):
    replace(code, """print('RESULT {"colour": "red"}')""")
    with pytest.raises(HostError, match="invalid result: colour: Extra inputs"):
        node.run(site, host, CHECKPOINTS, REQUEST)


def test_a_script_without_a_result_is_an_error(site, host, code):
    replace(code, "print('half')")
    with pytest.raises(HostError, match=r"(?s)invalid result.*its output ends:.*half"):
        node.run(site, host, CHECKPOINTS, REQUEST)


def test_a_script_that_prints_without_end_does_not_fill_the_log(site, host, code, caplog, monkeypatch):
    monkeypatch.setattr(node, "LOG_LIMIT", 1000)
    caplog.set_level("INFO", logger="sqltune.node")
    replace(
        code,
        "for n in range(5000): print(f'\\x1b[31mline {n}')\nraise SystemExit('\\x1b]0;title\\x07the end')",
    )
    with pytest.raises(HostError, match=r"line 4999\nthe end$"):
        node.run(site, host, CHECKPOINTS, REQUEST)
    shown = caplog.messages
    assert shown[0] == f"[{host.name}] line 0"
    assert shown[-1] == f"[{host.name}] more than 0 MB of log: no more is shown"
    assert 1000 < sum(map(len, shown)) < 4000


def test_a_missing_node_environment_is_named(site, host, code):
    empty = site.cluster.model_copy(update={"node_env": "~/nowhere", "env": {"PATH": "/nowhere"}})
    with pytest.raises(HostError, match=r"found no Python in ~/nowhere/bin: run include/node/bootstrap.sh"):
        node.run(site.model_copy(update={"cluster": empty}), host, CHECKPOINTS, REQUEST)
