"""What the two tools print, as people recorded it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssh_gang.gpus import parse

FIXTURES = Path(__file__).with_name("gpus")


def test_nvidia_smi():
    cards = parse((FIXTURES / "nvidia-smi.csv").read_text())
    assert [str(c) for c in cards[::7]] == [
        "gpu0 100 % 130013/143771 MiB",
        "gpu7 0 % 58071/143771 MiB",
    ] and len(cards) == 8


@pytest.mark.parametrize(
    ("card", "use"),
    [
        ("0, [N/A], 806 MiB, 49140 MiB", None),
        ("0, [Not Supported], 806 MiB, 49140 MiB", None),
        ("0, 7 %, 806 MiB, 49140 MiB", 7.0),
    ],
)
def test_a_card_that_does_not_count_its_use(card, use):
    assert parse(f"index, utilization.gpu [%], memory.used [MiB], memory.total [MiB]\n{card}")[0].use == use


def test_a_card_that_fell_off_the_bus_takes_no_other_with_it():
    header = "index, utilization.gpu [%], memory.used [MiB], memory.total [MiB]"
    assert [
        c.index
        for c in parse(
            f"{header}\n0, [Unknown Error], [Unknown Error], [Unknown Error]\nUnable to determine the device handle\n1, 3 %, 9 MiB, 81920 MiB, more\n"
        )
    ] == [1]


def test_rocm_smi():
    cards = parse((FIXTURES / "rocm-smi.json").read_text())
    assert [str(c) for c in cards] == ["gpu0 0 % 26/20464 MiB"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
        "{not json",
        '{"system": {"Driver version": "6.7.0"}}',
    ],
)
def test_neither(text):
    assert parse(text) == []
