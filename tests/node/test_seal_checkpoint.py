"""The hook that seals checkpoints, called as mmengine calls it, in the hosts' environment."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sqltune.operators.mmengine import CHECKPOINT_PATTERN
from tests.conftest import ROOT

SHARD = "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"
CALL_THE_HOOK = """
import pathlib, sys, types
import torch
from mmengine.hooks import CheckpointHook
from seal_checkpoint import SealCheckpoint

def call(hook, step, loss, keep):
    hooks = [CheckpointHook(by_epoch=False, interval=2, max_keep_ckpts=keep)]
    runner = types.SimpleNamespace(iter=step - 1, max_iters=8, work_dir=sys.argv[1], hooks=hooks)
    hook.before_train_iter(runner, step - 1)
    hook.after_train_iter(runner, step - 1, outputs={"loss": torch.tensor(float(loss))})
    print("step", step + 1, flush=True)

def files():
    root = pathlib.Path(sys.argv[1])
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())

hook = SealCheckpoint()
"""
ONE_CHECKPOINT = f"""{CALL_THE_HOOK}
call(hook, 4, sys.argv[2], keep=2)
hook.after_train(None)
print(files())
"""
TRAINING = (Path(__file__).parent / "sealed_training.py").read_text()


def checkpoint(folder: Path, step: int) -> Path:
    """A checkpoint of one shard, in a run's folder."""
    made = folder / f"iter_{step}.pth"
    made.mkdir(parents=True)
    (made / SHARD).write_bytes(b"state")
    (folder / "run.json").write_text('{"fingerprint": "f"}')
    return made


@contextmanager
def training(
    node_python: Path, script: str, *arguments: Path | str, **env: str
) -> Iterator[subprocess.Popen]:
    """A process that calls the hook; it is ended after the block."""
    process = subprocess.Popen(
        [node_python, "-c", script, *arguments],
        env={"PYTHONPATH": f"{ROOT}/include/node:{ROOT}/plugins", "PATH": "/usr/bin:/bin", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def output(node_python: Path, script: str, *arguments: Path | str, **env: str) -> str:
    """What a training that succeeds prints."""
    with training(node_python, script, *arguments, **env) as process:
        stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    return stdout


def files_after_the_hook(node_python: Path, folder: Path, loss: str) -> str:
    checkpoint(folder, 4)
    return output(node_python, ONE_CHECKPOINT, folder, loss)


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


@pytest.fixture
def slow_shard(tmp_path) -> Path:
    """A shard that cannot be read to its end before somebody writes to it."""
    shard = checkpoint(tmp_path / "train", 4) / SHARD
    shard.unlink()
    os.mkfifo(shard)
    return shard


def test_training_goes_on_while_a_checkpoint_is_sealed(node_python, slow_shard):
    with training(node_python, ONE_CHECKPOINT, slow_shard.parents[1], "1.5") as process:
        assert process.stdout.readline() == "step 5\n"
        assert not list(slow_shard.parent.glob("seal.*.json"))
        slow_shard.write_bytes(b"state")
        stdout, stderr = process.communicate(timeout=120)
    assert "seal.0.json" in stdout, stderr


def written_beside(node_python: Path, folder: Path, losses: str, keep: int) -> dict[str, str]:
    """What was sealed on the disk when each checkpoint of a training was written."""
    folder.mkdir()
    (folder / "run.json").write_text('{"fingerprint": "f"}')
    printed = output(node_python, TRAINING, folder, losses, str(keep))
    return dict(re.findall(r"(iter_\d).pth is written beside (.*)", printed))


def test_a_sealed_checkpoint_is_on_the_disk_when_the_next_one_is_written(node_python, tmp_path):
    """mmengine removes the oldest checkpoint before it writes one."""
    sealed = written_beside(node_python, tmp_path / "train", "1 1 1 1 1 1", keep=2)
    assert sealed == {"iter_2": "[]", "iter_4": "['iter_2.pth']", "iter_6": "['iter_4.pth']"}


def test_behind_a_loss_that_is_not_finite_no_checkpoint_is_removed_before_it_is_sealed(node_python, tmp_path):
    sealed = written_beside(node_python, tmp_path / "train", "1 1 1 nan 1 1", keep=2)
    assert sealed == {"iter_2": "[]", "iter_4": "['iter_2.pth']", "iter_6": "[]"}


def test_a_checkpoint_that_is_kept_alone_is_sealed_before_it_is_removed(node_python, tmp_path):
    written_beside(node_python, tmp_path / "train", "1 1 1 1", keep=1)
    assert (tmp_path / "train/iter_4.pth/seal.0.json").is_file()


def test_a_training_that_fails_after_a_step_has_sealed_what_it_wrote(node_python, slow_shard):
    script = f"{CALL_THE_HOOK}\ncall(hook, 4, 1.5, keep=2)\nraise RuntimeError('out of memory')"
    with training(node_python, script, slow_shard.parents[1]) as process:
        slow_shard.write_bytes(b"state")
        stdout, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert re.search(CHECKPOINT_PATTERN, stdout)["step"] == "4"


@pytest.mark.parametrize("then", ["hook.after_train(None)", "call(hook, 6, 1.5, keep=2)"])
def test_a_checkpoint_that_cannot_be_sealed_ends_the_training(node_python, tmp_path, then):
    checkpoint(tmp_path / "train", 4)
    checkpoint(tmp_path / "train", 6)
    (tmp_path / "train" / "iter_4.pth" / "seal.0.new").mkdir()
    script = f"{CALL_THE_HOOK}\ncall(hook, 4, 1.5, keep=2)\n{then}"
    with training(node_python, script, tmp_path / "train") as process:
        _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "IsADirectoryError" in stderr


def test_another_host_removes_what_mmengine_does_not(node_python, tmp_path):
    for step in (2, 4, 6, 8):
        checkpoint(tmp_path / "train", step)
    script = f"{CALL_THE_HOOK}\ncall(hook, 6, 1.5, keep=2)\nhook.after_train(None)\nprint(files())"
    output_ = output(node_python, script, tmp_path / "train", GROUP_RANK="1")
    assert re.findall(r"iter_(\d)\.pth/bf16", output_) == ["4", "6", "8"]
