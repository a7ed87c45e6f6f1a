"""A random LoRA adapter of a small model, in the node environment.

`python small_adapter.py MODEL FOLDER SEED [OPTIONS]` saves one for the model in a folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def save_adapter(model: Any, folder: Path, seed: int, **options: Any) -> None:
    """Save an adapter that changes a model's answers; the model is PEFT's afterwards."""
    torch.manual_seed(seed)
    config = {"r": 4, "lora_alpha": 12, "target_modules": MODULES, "task_type": "CAUSAL_LM"}
    adapted = get_peft_model(model, LoraConfig(**config | options))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            # PEFT's own are zero: an adapter that changes nothing yet.
            torch.nn.init.normal_(weight, std=0.1)
    adapted.save_pretrained(folder)


if __name__ == "__main__":
    source, target, seed, *options = sys.argv[1:]
    model = AutoModelForCausalLM.from_pretrained(source, torch_dtype=torch.float32)
    save_adapter(model, Path(target), int(seed), **json.loads(options[0]) if options else {})
