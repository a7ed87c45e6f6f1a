"""Memory by strategy, compared with published measurements."""

from __future__ import annotations

import pytest

from sqltune.estimate.config_traits import NF4_BITS, ConfigTraits
from sqltune.estimate.memory import STRATEGIES, cannot_fit, memory, sizes
from sqltune.node_contracts.preflight import Architecture

CODELLAMA = Architecture(
    hidden_size=4096,
    intermediate_size=11008,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=32,
    vocab_size=32016,
)
QWEN = CODELLAMA.model_copy(update={"vocab_size": 151936})
QLORA = ConfigTraits(packed=True, weight_bits=NF4_BITS, checkpointing=True, lora_dropout=True)
LORA = ConfigTraits(packed=True, weight_bits=16, checkpointing=True, lora_dropout=True)


def needed(strategy="zero2", *, shape=CODELLAMA, traits=QLORA, ranks=8, rank=64, tokens=2048, card=None):
    return memory(
        shape, traits, strategy=strategy, ranks=ranks, lora_rank=rank, tokens=tokens, gpu_memory=card
    )


def test_parameters_of_codellama_are_those_of_its_card():
    assert sizes(CODELLAMA, 64).total == 6_738_546_688


def test_parameters_of_the_adapter_are_those_of_lora_on_seven_layers():
    assert sizes(CODELLAMA, 64).adapter == 159_907_840


def test_shared_keys_have_fewer_parameters():
    shared = CODELLAMA.model_copy(update={"num_key_value_heads": 8})
    assert sizes(CODELLAMA, 1).linear - sizes(shared, 1).linear == 32 * 2 * 4096 * (4096 - 1024)


@pytest.mark.parametrize(
    ("traits", "tokens", "gb"),
    [
        (QLORA, 1024, 12.3),
        (QLORA, 2048, 13.9),
        (QLORA, 4096, 16.9),
        (QLORA, 8192, 23.5),
        (LORA, 1024, 21.5),
        (LORA, 2048, 23.8),
        (LORA, 4096, 29.7),
        (LORA, 8192, 36.6),
    ],
)
def test_one_card_needs_what_qwen_measured(monkeypatch, traits, tokens, gb):
    """Its README: one A100 80 GB alone, so without DeepSpeed's buffers; the whole optimizer is on that card.

    Qwen's own code makes no 32-bit copies of the logits: 16 bits, the same shifted by a token, the softmax.
    """
    monkeypatch.setattr("sqltune.estimate.memory.LOGIT_BYTES", 8)
    alone = needed("zero1", shape=QWEN, traits=traits, ranks=1, tokens=tokens)
    assert alone.total - alone.buffers == pytest.approx(gb * 1e9 / 2**30, rel=0.2)


def test_7b_in_4_bits_fits_a_card_of_16_gb_without_offload():
    assert needed("zero2", card=16).fits


def test_7b_in_16_bits_does_not_fit_a_card_of_16_gb_but_under_zero3():
    fits = {s: needed(s, traits=LORA, card=16).fits for s in STRATEGIES}
    assert fits == {
        "zero1": False,
        "zero2": False,
        "zero2_offload": False,
        "zero3": True,
        "zero3_offload": True,
    }


def test_each_strategy_needs_less_than_the_one_before():
    totals = {s: needed(s, traits=LORA).total for s in STRATEGIES}
    assert (
        totals["zero1"]
        > totals["zero2"]
        > totals["zero2_offload"]
        > totals["zero3"]
        > totals["zero3_offload"]
    )


def test_without_checkpointing_every_layer_keeps_its_activations():
    kept = QLORA.model_copy(update={"checkpointing": False})
    assert needed(traits=kept).activations > 8 * needed().activations


def test_activations_grow_with_the_tokens():
    assert needed(tokens=4096).activations == pytest.approx(2 * needed(tokens=2048).activations, rel=0.01)


def test_parts_add_up():
    whole = needed()
    parts = whole.weights + whole.adapter + whole.activations + whole.buffers + whole.reserve
    assert whole.total == pytest.approx(parts, abs=0.1)


def test_a_card_that_lacks_the_allowance_alone_is_not_refused():
    """The allowance is a guess: a run that might fit must not be refused."""
    tight = needed("zero2")
    assert not needed("zero2", card=tight.total - 0.5).fits
    assert not cannot_fit(tight, tight.total - 0.5)
    assert cannot_fit(tight, tight.total - 1.5)


def test_a_model_that_is_not_llamas_has_no_architecture():
    assert Architecture.read('{"model_type": "gpt2", "n_embd": 768}') is None


def test_keys_are_as_many_as_heads_where_the_config_says_nothing():
    config = (
        '{"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, '
        '"vocab_size": 10, "model_type": "llama"}'
    )
    assert Architecture.read(config).num_key_value_heads == 2
