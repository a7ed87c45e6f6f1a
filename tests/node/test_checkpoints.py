"""Seals of checkpoints: written, listed, verified, staged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import checkpoints
from sqltune.node_contracts.checkpoints import CheckpointsRequest


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A sealed checkpoint of an attempt."""
    folder = tmp_path / "train" / "try1-ab" / "iter_4.pth"
    folder.mkdir(parents=True)
    (folder.parent / "run.json").write_text(json.dumps({"fingerprint": "f" * 16}))
    (folder / "shard_optim_states.pt").write_bytes(b"weights")
    checkpoints.seal(folder, step=4, total=10, world_size=2, node_rank=0)
    return folder


def test_a_sealed_checkpoint_is_listed_with_its_attempt(checkpoint):
    request = CheckpointsRequest(action="list", folder=str(checkpoint.parents[1]))
    (seal,) = checkpoints.handle(request).seals
    assert (seal.attempt, seal.step, seal.total, seal.world_size) == ("try1-ab", 4, 10, 2)
    assert list(seal.files) == ["shard_optim_states.pt"]


def test_an_unchanged_checkpoint_is_not_damaged(checkpoint):
    request = CheckpointsRequest(action="verify", folder=str(checkpoint))
    assert checkpoints.handle(request).damaged == []


@pytest.mark.parametrize("damage", [lambda f: f.write_bytes(b"weightz"), Path.unlink])
def test_a_changed_or_missing_file_is_damaged(checkpoint, damage):
    damage(checkpoint / "shard_optim_states.pt")
    request = CheckpointsRequest(action="verify", folder=str(checkpoint))
    assert checkpoints.handle(request).damaged == ["shard_optim_states.pt"]


def test_a_staged_checkpoint_is_the_one_to_resume_from(checkpoint):
    work_dir = checkpoint.parents[1] / "try2-cd"
    request = CheckpointsRequest(action="stage", folder=str(checkpoint), work_dir=str(work_dir))
    assert checkpoints.handle(request).staged == ["seal.0.json", "shard_optim_states.pt"]
    assert (work_dir / "last_checkpoint").read_text() == str(work_dir / "iter_4.pth")
    staged = work_dir / "iter_4.pth" / "shard_optim_states.pt"
    assert staged.samefile(checkpoint / "shard_optim_states.pt")
