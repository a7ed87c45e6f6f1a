"""Log lines to numbers."""

from __future__ import annotations

from ssh_gang.progress import parse_line

# As mmengine 0.10.7 printed it.
LINE = "11/23 04:49:10 - mmengine - INFO - Iter(train) [23/24]  lr: 1.6430e-04  eta: 0:00:08  time: 6.6287  data_time: 0.0316  loss: 0.0870"


def test_an_iteration():
    p = parse_line(LINE)
    assert p and (p.step, p.total, p.loss, p.lr, p.seconds_per_step, p.eta) == (
        23,
        24,
        0.0870,
        1.643e-4,
        6.6287,
        "0:00:08",
    )
    assert str(p) == "iter 23/24 · loss 0.0870 · ETA 0:00:08"


def test_days_and_nan_and_padding():
    p = parse_line(
        "… Iter(train) [  10/15700]  lr: 2.0e-04  eta: 1 day, 2:03:04  time: 6.1  loss: nan  grad_norm: 1.5"
    )
    assert p and (p.step, p.total, p.loss, p.eta) == (10, 15700, None, "1 day, 2:03:04")
    assert str(p) == "iter 10/15700 · ETA 1 day, 2:03:04"


def test_other_lines():
    assert parse_line("Iter(val) [1/2] loss: 3") is None and parse_line("loss: 3.2") is None


def test_what_a_gpu_host_logs_besides():
    p = parse_line(
        "11/23 04:49:10 - mmengine - INFO - Iter(train) [ 10/157]  lr: 1.0e-04  eta: 0:20:59  time: 8.5  data_time: 0.01  memory: 15873  loss: 1.2  tflops: 4.6  tokens_per_sec: 240.5"
    )
    assert p.memory == 15873 and p.tokens_per_second == 240.5
