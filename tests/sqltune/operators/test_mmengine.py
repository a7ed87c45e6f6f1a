"""Iterations in mmengine's log."""

from __future__ import annotations

import re

from sqltune.operators.mmengine import PROGRESS_PATTERN
from ssh_gang.progress import Progress, parse_progress


def parse(line: str) -> Progress | None:
    return parse_progress(re.compile(PROGRESS_PATTERN), line)


# As mmengine 0.10.7 printed it.
LINE = (
    "11/23 04:49:10 - mmengine - INFO - Iter(train) [23/24]  lr: 1.6430e-04  eta: 0:00:08  "
    "time: 6.6287  data_time: 0.0316  loss: 0.0870"
)


def test_pattern_reads_an_iteration():
    assert parse(LINE) == Progress(
        step=23, total=24, loss=0.0870, lr=1.643e-4, seconds_per_step=6.6287, eta="0:00:08"
    )


def test_pattern_reads_days_padding_and_a_loss_that_is_nan():
    progress = parse(
        "… Iter(train) [  10/15700]  lr: 2.0e-04  eta: 1 day, 2:03:04  time: 6.1  loss: nan  grad_norm: 1.5"
    )
    assert progress == Progress(
        step=10,
        total=15700,
        loss=None,
        loss_is_finite=False,
        lr=2e-4,
        seconds_per_step=6.1,
        eta="1 day, 2:03:04",
    )
    assert str(progress) == "iter 10/15700 · loss not finite · ETA 1 day, 2:03:04"


def test_pattern_ignores_validation():
    assert parse("Iter(val) [1/2] loss: 3") is None


def test_pattern_ignores_a_loss_without_an_iteration():
    assert parse("loss: 3.2") is None


def test_pattern_reads_memory_and_throughput_of_a_gpu_host():
    progress = parse(
        "11/23 04:49:10 - mmengine - INFO - Iter(train) [ 10/157]  lr: 1.0e-04  eta: 0:20:59  time: 8.5  "
        "data_time: 0.01  memory: 15873  loss: 1.2  tflops: 4.6  tokens_per_sec: 240.5"
    )
    assert progress.memory == 15873
    assert progress.tokens_per_second == 240.5
