"""Memory of one GPU by strategy, from the shape of the model.

Sources of the formulas: model states by ZeRO stage from arXiv:1910.02054 (sections 3.1 and 5); weights in
NF4 from arXiv:2305.14314 (section 3); activations from arXiv:2205.05198 (sections 4 and 5), with Llama's
gated MLP in place of GPT's; buffers from DeepSpeed 0.18's code and xtuner's files. `tests/sqltune/estimate`
compares them with published measurements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from sqltune.config.recipe import DeepSpeed
from sqltune.estimate.config_traits import ConfigTraits
from sqltune.estimate.model import StrategyMemory
from sqltune.node_contracts.preflight import Architecture

GIB = 1 << 30
HALF = 2
"""Bytes of a 16-bit number."""
OPTIMIZER = 12
"""Bytes of AdamW's state for one parameter: a 32-bit copy, momentum and variance (ZeRO, section 3.1)."""
BUCKET = 500_000_000 * HALF
"""Bytes of DeepSpeed's reduce_bucket_size, allocated whole however small the adapter is."""
LIVE = 1_000_000_000 * HALF
"""Bytes of weights that ZeRO-3 gathers at a time (stage3_max_live_parameters)."""
PREFETCHED = 50_000_000 * HALF
"""Bytes that ZeRO-3 fetches ahead (stage3_prefetch_bucket_size)."""
LOGIT_BYTES = 14
"""Of one logit in transformers 4.48: in 16 bits, and in 32 a copy, one shifted by a token, the softmax."""
RESERVE = GIB
"""Bytes for the context of the driver and its libraries, and for fragments: an allowance, not a formula."""
STRATEGIES: tuple[DeepSpeed, ...] = get_args(DeepSpeed)


@dataclass(frozen=True)
class Sizes:
    """Parameters of a model with its adapter.

    Attributes:
        linear: In linear layers, which are quantized where weights are.
        other: Embeddings, output layer and norms.
        adapter: LoRA's.
    """

    linear: int
    other: int
    adapter: int

    @property
    def total(self) -> int:
        """Without the adapter."""
        return self.linear + self.other


def sizes(shape: Architecture, lora_rank: int) -> Sizes:
    """Count parameters; LoRA is on every linear layer but the output layer, as xtuner puts it."""
    h, i, kv = shape.hidden_size, shape.intermediate_size, _kv(shape)
    linears = [(h, h), (h, kv), (h, kv), (h, h), (h, i), (h, i), (i, h)]
    embeddings = shape.vocab_size * h * (1 if shape.tie_word_embeddings else 2)
    layers = shape.num_hidden_layers
    return Sizes(
        linear=layers * sum(a * b for a, b in linears),
        other=embeddings + (2 * layers + 1) * h,
        adapter=layers * lora_rank * sum(a + b for a, b in linears),
    )


def memory(
    shape: Architecture,
    traits: ConfigTraits,
    *,
    strategy: DeepSpeed,
    ranks: int,
    lora_rank: int,
    tokens: int,
    gpu_memory: float | None = None,
) -> StrategyMemory:
    """Return what one GPU needs.

    Args:
        shape: The base model's.
        traits: The config's.
        strategy: How it is spread over the ranks.
        ranks: Their number.
        lora_rank: r of the adapter.
        tokens: Of one micro-batch, padded.
        gpu_memory: GiB that the card has, where it is known.
    """
    count = sizes(shape, lora_rank)
    # What is not a linear layer stays in 16 bits beside quantized weights.
    frozen = (count.linear * traits.weight_bits + count.other * max(16, traits.weight_bits)) / 8
    parts = {
        "weights": _weights(strategy, frozen, ranks),
        "adapter": count.adapter * _adapter_bytes(strategy, ranks),
        "activations": _activations(shape, traits, tokens),
        "buffers": BUCKET * (1 if strategy.startswith("zero3") else 2),
        "reserve": RESERVE,
    }
    total = sum(parts.values()) / GIB
    return StrategyMemory(
        strategy=strategy,
        **{name: round(size / GIB, 2) for name, size in parts.items()},
        total=round(total, 1),
        fits=None if gpu_memory is None else total <= gpu_memory,
    )


def cannot_fit(needed: StrategyMemory, gpu_memory: float) -> bool:
    """Whether even without the allowance the card is too small: only then a plan is refused."""
    return needed.total - needed.reserve > gpu_memory


def _weights(strategy: DeepSpeed, frozen: float, ranks: int) -> float:
    if not strategy.startswith("zero3"):
        return frozen
    gathered = min(frozen, LIVE + PREFETCHED)
    return (
        gathered if strategy == "zero3_offload" else frozen / ranks + min(gathered, frozen - frozen / ranks)
    )


def _adapter_bytes(strategy: DeepSpeed, ranks: int) -> float:
    """Bytes on the GPU for one parameter of the adapter: weight, gradient, optimizer."""
    match strategy:
        case "zero1":
            return HALF + HALF + OPTIMIZER / ranks
        case "zero2":
            return HALF + (HALF + OPTIMIZER) / ranks
        case "zero2_offload":
            return HALF + HALF / ranks
        case "zero3":
            return (HALF + HALF + OPTIMIZER) / ranks
        case "zero3_offload":
            return HALF / ranks


def _activations(shape: Architecture, traits: ConfigTraits, tokens: int) -> float:
    """Bytes of one micro-batch's activations, with attention that keeps no score matrix (SDPA, flash)."""
    h, i, kv = shape.hidden_size, shape.intermediate_size, _kv(shape)
    # In 16 bits: the norms' inputs, inputs of q, k and v, queries and output of the attention, keys and
    # values, inputs of both MLP layers; of the gated MLP: gate, up, their activation and product.
    layer = HALF * tokens * (2 * h + h + 2 * h + 2 * kv + h + h + 4 * i)
    if traits.lora_dropout:
        # A copy of each linear layer's input behind the dropout, and its mask of one byte.
        layer += (HALF + 1) * tokens * (6 * h + i)
    layers, logits = shape.num_hidden_layers, LOGIT_BYTES * tokens * shape.vocab_size
    if traits.checkpointing:
        # The logits are gone when the first layer is computed again.
        return layers * HALF * tokens * h + max(layer, logits)
    return layers * layer + logits


def _kv(shape: Architecture) -> int:
    """Width of the keys, which groups of heads may share."""
    return shape.hidden_size * shape.num_key_value_heads // shape.num_attention_heads
