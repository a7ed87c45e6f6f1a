"""The output of the two tools, as recorded on real hosts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ssh_gang.gpus import parse

RECORDED = Path(__file__).with_name("gpus")
HEADER = "index, utilization.gpu [%], memory.used [MiB], memory.total [MiB]"


def test_nvidia_smi_is_parsed():
    gpus = parse((RECORDED / "nvidia-smi.csv").read_text())
    assert len(gpus) == 8
    assert str(gpus[0]) == "gpu0 100 % 130013/143771 MiB"
    assert str(gpus[7]) == "gpu7 0 % 58071/143771 MiB"


@pytest.mark.parametrize(
    ("row", "use"),
    [
        ("0, [N/A], 806 MiB, 49140 MiB", None),
        ("0, [Not Supported], 806 MiB, 49140 MiB", None),
        ("0, 7 %, 806 MiB, 49140 MiB", 7.0),
    ],
)
def test_use_that_is_not_counted_is_none(row, use):
    assert parse(f"{HEADER}\n{row}")[0].use == use


def test_gpu_that_fell_off_the_bus_hides_no_other():
    text = f"""\
{HEADER}
0, [Unknown Error], [Unknown Error], [Unknown Error]
Unable to determine the device handle
1, 3 %, 9 MiB, 81920 MiB, more
"""
    assert [gpu.index for gpu in parse(text)] == [1]


def test_rocm_smi_is_parsed():
    gpus = parse((RECORDED / "rocm-smi.json").read_text())
    assert [str(gpu) for gpu in gpus] == ["gpu0 0 % 26/20464 MiB"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
        "{not json",
        '{"system": {"Driver version": "6.7.0"}}',
    ],
)
def test_output_of_neither_tool_has_no_gpus(text):
    assert parse(text) == []


@pytest.mark.parametrize(
    "card",
    [
        {"VRAM Total Memory (B)": "N/A", "VRAM Total Used Memory (B)": "N/A"},
        {"VRAM Total Memory (B)": "21458059264"},
        "VRAM Total Memory (B)",
        None,
    ],
)
def test_a_card_that_rocm_smi_cannot_read_is_left_out(card):
    good = json.loads((RECORDED / "rocm-smi.json").read_text())["card0"]
    gpus = parse(json.dumps({"card0": card, "card1": good, "card_x": good}))
    assert [gpu.index for gpu in gpus] == [1]


def test_the_temperature_that_nvidia_smi_reports():
    header = f"{HEADER}, temperature.gpu"
    gpus = parse(f"{header}\n0, 7 %, 806 MiB, 49140 MiB, 61\n1, 7 %, 806 MiB, 49140 MiB, [N/A]")
    assert [gpu.temperature for gpu in gpus] == [61.0, None]


@pytest.mark.parametrize(
    ("sensors", "temperature"),
    [
        ({"edge": "54.0", "junction": "67.0", "memory": "62.0"}, 54.0),
        ({"junction": "45.0", "memory": "38.0"}, 45.0),
        ({"edge": "N/A"}, None),
        ({}, None),
    ],
)
def test_the_temperature_that_rocm_smi_reports(sensors, temperature):
    """An MI300X has no sensor at its edge."""
    card = json.loads((RECORDED / "rocm-smi.json").read_text())["card0"]
    card |= {f"Temperature (Sensor {name}) (C)": value for name, value in sensors.items()}
    assert parse(json.dumps({"card0": card}))[0].temperature == temperature
