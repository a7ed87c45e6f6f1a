"""The hook that seals checkpoints, called as mmengine calls it, in the hosts' environment."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from sqltune.operators.mmengine import CHECKPOINT_PATTERN
from tests.conftest import ROOT

CALL_THE_HOOK = """
import pathlib, sys, types
import torch
from seal_checkpoint import SealCheckpoint
runner = types.SimpleNamespace(iter=3, max_iters=8, work_dir=sys.argv[1], hooks=[])
SealCheckpoint().after_train_iter(runner, 3, outputs={"loss": torch.tensor(float(sys.argv[2]))})
print(sorted(p.name for p in pathlib.Path(sys.argv[1]).rglob("*") if p.is_file()))
"""


def files_after_the_hook(node_python: Path, folder: Path, loss: str) -> str:
    checkpoint = folder / "iter_4.pth"
    checkpoint.mkdir(parents=True)
    (checkpoint / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt").write_bytes(b"state")
    (folder / "run.json").write_text('{"fingerprint": "f"}')
    done = subprocess.run(
        [node_python, "-c", CALL_THE_HOOK, folder, loss],
        env={"PYTHONPATH": f"{ROOT}/include/node:{ROOT}/plugins", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


def test_checkpoint_with_a_finite_loss_is_sealed(node_python, tmp_path):
    assert "seal.0.json" in files_after_the_hook(node_python, tmp_path / "train", "1.5")


def test_a_sealed_checkpoint_is_reported_in_the_line_that_the_watcher_reads(node_python, tmp_path):
    output = files_after_the_hook(node_python, tmp_path / "train", "1.5")
    assert re.search(CHECKPOINT_PATTERN, output)["step"] == "4"


@pytest.mark.parametrize("loss", ["nan", "inf"])
def test_checkpoint_whose_loss_is_not_finite_is_not_sealed(node_python, tmp_path, loss):
    output = files_after_the_hook(node_python, tmp_path / "train", loss)
    assert "seal.0.json" not in output
    assert "checkpoint iter_4.pth is not sealed: its loss is not finite" in output
    assert not re.search(CHECKPOINT_PATTERN, output)
