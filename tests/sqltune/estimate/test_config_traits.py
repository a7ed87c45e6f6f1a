"""What the shipped xtuner configs decide about memory and steps."""

from __future__ import annotations

import pytest

from sqltune.estimate.config_traits import NF4_BITS, ConfigTraits, traits


@pytest.mark.parametrize("config", ["codellama_7b_qlora.py", "codellama_7b_qlora_fast.py"])
def test_production_config_is_packed_in_4_bits_with_checkpointing(config):
    assert traits(config) == ConfigTraits(
        packed=True, weight_bits=NF4_BITS, checkpointing=True, lora_dropout=True
    )


def test_lab_config_is_padded_in_16_bits_without_checkpointing():
    assert traits("lab_lora.py") == ConfigTraits(
        packed=False, weight_bits=16, checkpointing=False, lora_dropout=False
    )
