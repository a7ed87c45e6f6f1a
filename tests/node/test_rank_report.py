"""The hook that reports ranks, called as mmengine calls it, in the hosts' environment."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ssh_gang.ranks import REPORTS, RankReport, parse
from tests.conftest import ROOT

CALL_THE_HOOK = """
import sys, time, types
import rank_report
rank_report.PAUSE = float(sys.argv[1])
hook = rank_report.RankReport()
runner = types.SimpleNamespace(iter=0, max_iters=8)
hook.before_train_epoch(runner)
for runner.iter in range(int(sys.argv[2])):
    time.sleep(0.02)  # loading a batch
    hook.before_train_iter(runner, runner.iter)
    time.sleep(0.03)
    hook.after_train_iter(runner, runner.iter)
"""


def run_the_hook(node_python: Path, folder: Path | None, pause: float = 0, steps: int = 4) -> None:
    env = {"PYTHONPATH": f"{ROOT}/include/node:{ROOT}/plugins", "PATH": "/usr/bin:/bin", "RANK": "3"}
    subprocess.run(
        [node_python, "-c", CALL_THE_HOOK, str(pause), str(steps)],
        env=env | ({REPORTS: str(folder)} if folder else {}),
        check=True,
        timeout=120,
    )


def report_in(folder: Path) -> RankReport:
    [file] = folder.iterdir()
    [report] = parse(f"{file.name} {file.read_text()}")
    return report


def test_a_rank_reports_its_step_and_what_a_step_takes(node_python, tmp_path):
    run_the_hook(node_python, tmp_path)
    report = report_in(tmp_path)
    assert (report.rank, report.step) == (3, 4)
    assert report.seconds >= 0.05
    assert 0.02 <= report.data_seconds < report.seconds


def test_the_last_step_is_reported_at_once(node_python, tmp_path):
    run_the_hook(node_python, tmp_path, pause=60, steps=8)
    assert report_in(tmp_path).step == 8


def test_steps_in_between_are_not_reported_too_often(node_python, tmp_path):
    run_the_hook(node_python, tmp_path, pause=60, steps=7)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["missing", None])
def test_a_report_that_cannot_be_written_costs_the_training_nothing(node_python, tmp_path, folder):
    run_the_hook(node_python, tmp_path / folder if folder else None)
