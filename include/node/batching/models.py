"""The models that the batched engine can serve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TRANSFORMERS = "4.48.0"
"""The version of transformers whose internals `keys` uses."""
FAMILIES = ("llama", "qwen2")
"""`model_type` of the models whose attention has been read and tested."""
_ROPE_TYPES = ("default", "linear", "llama3", "yarn")
"""Rotations that depend on a token's position alone. The others change with the longest row of a batch."""
_REMEDY = "set serving.engine to fastchat in the cluster file"


def version_problem(version: str) -> str | None:
    """Why the engine cannot run on a version of transformers; None when it can."""
    if version == TRANSFORMERS:
        return None
    return (
        f"transformers is {version}, and the batched engine uses internals of {TRANSFORMERS}: install "
        f"include/node/requirements.txt, or {_REMEDY}"
    )


def model_problem(config: Mapping[str, Any]) -> str | None:
    """Why a model cannot be served, by the content of its config.json; None when it can.

    Not by transformers' configuration: that of a model with code of its own is made by that code.
    """
    model_type = config.get("model_type")
    rope = config.get("rope_scaling") or {}
    rope_type = rope.get("rope_type", rope.get("type", "default"))
    problems = {
        f"model_type {model_type}": model_type not in FAMILIES,
        "a sliding window": config.get("use_sliding_window", False),
        f"rope_scaling of type {rope_type}": rope_type not in _ROPE_TYPES,
        "quantised weights": config.get("quantization_config") is not None,
    }
    found = [name for name, is_problem in problems.items() if is_problem]
    if not found:
        return None
    return (
        f"the batched engine cannot serve {', '.join(found)} (it serves {', '.join(FAMILIES)} with full "
        f"attention, not quantised): {_REMEDY}"
    )


def offload_problem(model: Any) -> str | None:
    """Why a loaded model cannot be served where its weights are; None when all are on a device."""
    if not any(parameter.is_meta for parameter in model.parameters()):
        return None
    return (
        "the model does not fit on its GPUs, and some of its layers stay in the host's memory: raise "
        f"serving.num_gpus or serving.max_gpu_memory, or {_REMEDY}"
    )
