"""What the two tools print, as people recorded it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sqltune.gpus import parse

FIXTURES = Path(__file__).with_name("gpus")


def test_nvidia_smi():
    cards = parse((FIXTURES / "nvidia-smi.csv").read_text())
    assert [str(c) for c in cards] == ["gpu0 45 % 40960/81920 MiB", "gpu1 12 % 10240/81920 MiB"]


def test_a_card_that_does_not_count_its_use():
    assert parse("0, [N/A], 806, 49140")[0].use is None


def test_rocm_smi():
    cards = parse((FIXTURES / "rocm-smi.json").read_text())
    assert [str(c) for c in cards] == ["gpu0 0 % 26/20464 MiB"]


@pytest.mark.parametrize("text", ["", "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", "{not json", '{"system": {"Driver version": "6.7.0"}}'])
def test_neither(text):
    assert parse(text) == []
