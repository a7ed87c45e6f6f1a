"""A model's weights, compared with the shapes that its configuration describes.

vLLM would find out after half a minute, and say so deep in a traceback.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from lora import AdapterError, fit_problem, model_shapes, read

CPU_HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""vLLM's `CPUAttentionBackend.get_supported_head_sizes`; with another size it fails at the first request."""
SHOWN = 3
"""Weights that a message names."""
Shapes = dict[str, tuple[int, ...]]


def model_problem(folder: Path, device: str, gpus: int) -> str | None:
    """Why a model cannot be served; None when nothing speaks against it.

    Args:
        folder: The model.
        device: cpu or cuda.
        gpus: GPUs that share it.
    """
    try:
        config = AutoConfig.from_pretrained(folder)
    except (OSError, ValueError) as e:
        return f"transformers cannot read the configuration of the model in {folder} ({e}): copy it again"
    if problem := _heads_problem(config, device, gpus):
        return f"the model in {folder} {problem}"
    # The weights of a quantised model have other names and shapes.
    return None if getattr(config, "quantization_config", None) else _weights_problem(folder, config)


def adapter_problem(folder: Path, base: Path) -> str | None:
    """Why an adapter cannot be served beside its base model; None when it can.

    vLLM leaves out what does not fit, and says nothing.

    Args:
        folder: The adapter.
        base: The base model.
    """
    try:
        return fit_problem(read(folder), base, found_shapes(base))
    except AdapterError as e:
        return str(e)


def _heads_problem(config: Any, device: str, gpus: int) -> str | None:
    heads = config.num_attention_heads
    if heads % gpus:
        return (
            f"has {heads} attention heads, which {gpus} GPUs cannot share: set serving.num_gpus to a "
            "divisor of their number"
        )
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    if device == "cpu" and size not in CPU_HEAD_SIZES:
        return (
            f"has attention heads of size {size}, and vLLM on a CPU takes "
            f"{', '.join(map(str, CPU_HEAD_SIZES))}: set serving.engine to batched"
        )
    return None


def _weights_problem(folder: Path, config: Any) -> str | None:
    expected, found = _expected_shapes(config), found_shapes(folder)
    wrong = [
        f"{name} is {list(found[name]) if name in found else 'missing'}, {list(shape)} is expected"
        for name, shape in expected.items()
        if found.get(name) != shape
    ]
    if not wrong:
        return None
    more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    return (
        f"the weights in {folder} are not those that its config.json describes "
        f"({'; '.join(wrong[:SHOWN])}{more}): train or copy the model again"
    )


def _expected_shapes(config: Any) -> Shapes:
    """Shapes of the weights, made without memory; copies of others need not be in the files."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    tied = set(model._tied_weights_keys or ()) if config.tie_word_embeddings else set()
    return {name: tuple(weight.shape) for name, weight in model.state_dict().items() if name not in tied}


def found_shapes(folder: Path) -> Shapes:
    """Shapes of the weights in a model's files; reads their headers only."""
    shapes = dict(model_shapes(folder))
    if not shapes:
        for path in folder.glob("pytorch_model*.bin"):
            weights = torch.load(path, map_location="meta", weights_only=True, mmap=True)
            shapes |= {name: tuple(weight.shape) for name, weight in weights.items()}
    return shapes
