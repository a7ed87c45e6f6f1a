"""Old models and checkpoints are removed; what is named stays."""

from __future__ import annotations

from pathlib import Path

import pytest

import retention
from sqltune.node_contracts.retention import RetentionRequest, RetentionResponse

FILES = (
    "merged/model.safetensors",
    "train/try1/iter_2.pth/shard.pt",
    "train/try1/run.json",
    "adapter/adapter.safetensors",
)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Four runs on a host, one of which is not in the records."""
    for name in ("r1", "r2", "r3", "unknown"):
        for file in FILES:
            path = tmp_path / "runs" / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * 5000)
    return tmp_path / "runs"


@pytest.fixture
def response(runs: Path) -> RetentionResponse:
    """r1 keeps its merged model, r3 keeps everything."""
    return retention.prune(
        RetentionRequest(
            runs=str(runs),
            work_dir=str(runs.parent),
            known=["r1", "r2", "r3"],
            merged=["r1", "r3"],
            checkpoints=["r3"],
        )
    )


def test_models_and_checkpoints_that_are_not_named_are_removed(response):
    assert response.removed == ["r1/train/try1/iter_2.pth", "r2/merged", "r2/train/try1/iter_2.pth"]


def test_models_and_checkpoints_that_are_named_stay(runs, response):
    assert (runs / "r1/merged/model.safetensors").exists()
    assert (runs / "r3/train/try1/iter_2.pth/shard.pt").exists()


def test_an_unknown_run_stays(runs, response):
    assert (runs / "unknown/merged").exists()


@pytest.mark.parametrize("name", ["r1", "r2"])
@pytest.mark.parametrize("kept", ["adapter/adapter.safetensors", "train/try1/run.json"])
def test_adapters_and_logs_always_stay(runs, response, name, kept):
    assert (runs / name / kept).exists()


def test_the_disk_usage_is_reported(response):
    assert set(response.disk) == {"total", "free", "runs"}
    assert response.disk["runs"] > 0
