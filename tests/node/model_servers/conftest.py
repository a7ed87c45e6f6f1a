"""Model servers of a host, none of them running."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from model_servers.stack import Stack
from model_servers.supervisor import Supervisor
from sqltune.node_contracts.serving import ServingSettings
from tests.conftest import free_port
from tests.node.adapter_files import make_adapter, make_base


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    """A host's model servers, none of them running."""
    first = free_port()
    return Stack(
        ServingSettings(
            folder=str(tmp_path),
            bind="127.0.0.1",
            controller_port=free_port(),
            api_port=free_port(),
            worker_ports=(first, first + 9),
            ready_timeout=1,
            drain_timeout=20,
            dtype="bfloat16",
            device="cpu",
            requires_key=False,
        )
    )


@pytest.fixture
def supervisor(stack: Stack) -> Iterator[Supervisor]:
    """Its supervisor, which is stopped afterwards."""
    yield stack.supervisor
    if stack.supervisor.running():
        stack.supervisor.shut_down()


@pytest.fixture
def unmerged(stack: Stack, tmp_path: Path) -> Stack:
    """The same with adapters a and b of a base model, in folders of these names."""
    (tmp_path / "models").mkdir()
    base = make_base(tmp_path / "models/base")
    for name in "ab":
        make_adapter(tmp_path / "models" / name)
    stack.settings = stack.settings.model_copy(update={"base_model": str(base)})
    return stack


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Folder of the base model and its adapters."""
    return tmp_path / "models"
