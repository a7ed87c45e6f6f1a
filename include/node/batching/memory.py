"""How many tokens' keys and values fit into memory."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch

GIB = 1024**3
CPU_GIB = 2.0
"""Budget on a CPU where none is set: the host's memory is also the training's."""
GPU_FRACTION = 0.7
"""Share of a GPU's free memory after loading that is the budget where none is set."""


def layer_devices(model: Any) -> list[torch.device]:
    """Where each layer's keys are made."""
    return [layer.self_attn.k_proj.weight.device for layer in model.model.layers]


def head_size(config: Any) -> int:
    """Numbers in one head of a key."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def token_capacity(model: Any, cache_gib: float | None) -> int:
    """Tokens whose keys and values fit into the budget.

    Args:
        model: The loaded model.
        cache_gib: Budget over all devices, in GiB; None takes `CPU_GIB`, or `GPU_FRACTION` of each GPU.
    """
    config = model.config
    layer_bytes: int = 2 * config.num_key_value_heads * head_size(config) * model.dtype.itemsize
    layers = Counter(layer_devices(model))
    on_gpus = all(device.type == "cuda" for device in layers)
    if cache_gib is not None or not on_gpus:
        budget = CPU_GIB if cache_gib is None else cache_gib
        return int(budget * GIB) // (layer_bytes * layers.total())
    # What is left is for activations.
    return min(
        int(GPU_FRACTION * torch.cuda.mem_get_info(device)[0]) // (layer_bytes * count)
        for device, count in layers.items()
    )
