"""How far a merged model is from base model + adapter: their log-probabilities, on a real prompt, on the CPU.

Base model and adapter are computed in float32; the merged weights are those on the disk.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqltune.sql.prompt import render

if TYPE_CHECKING:
    import torch

TOLERANCE = 0.05
"""Largest difference allowed between log-probabilities of the five likeliest tokens, in nats.

xtuner stores the merged weights in 16 bits.
"""
LIKELIEST = 5
QUESTION = "部门中有多少人年龄大于56岁？"
CONTEXT = "CREATE TABLE head (age INTEGER)"


def largest_difference(base: Path, adapter: Path, merged: Path) -> float:
    """Largest difference between the merged model and base + adapter, in nats."""
    from peft import PeftModel
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(base)(render(QUESTION, CONTEXT), return_tensors="pt").input_ids
    # One model after the other: two 7B models in float32 would need 56 GB.
    expected = log_probabilities(PeftModel.from_pretrained(_load(base), adapter), ids)
    gc.collect()
    actual = log_probabilities(_load(merged), ids)
    likely = expected.topk(LIKELIEST, dim=-1).indices
    return float((actual.gather(-1, likely) - expected.gather(-1, likely)).abs().max())


def _load(model: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(model, torch_dtype=torch.float32)


def log_probabilities(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of all next tokens, at each position of the prompt."""
    import torch

    with torch.no_grad():
        return model(ids).logits.float().log_softmax(-1)
