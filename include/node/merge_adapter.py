"""Merge an adapter into its base model with xtuner, and prove that the merged model is base + adapter.

    python merge_adapter.py BASE ADAPTER MERGED

The target appears only when the logits agree. Compared in float32 on the CPU, on a real prompt.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from peft import PeftModel
from preflight import folder_hash
from transformers import AutoModelForCausalLM, AutoTokenizer

from sqltune.prompt import render

TOLERANCE = 0.05
"""Largest difference allowed between log-probabilities of the five likeliest tokens, in nats: xtuner stores the merged weights in 16 bits."""


def log_probabilities(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of every next token, for each place of the prompt."""
    with torch.no_grad():
        return model(ids).logits.float().log_softmax(-1)


def largest_difference(base: str, adapter: str, merged: str) -> float:
    """The largest difference between merged and base + adapter, in nats."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    ids = tokenizer(
        render("部门中有多少人年龄大于56岁？", "CREATE TABLE head (age INTEGER)"), return_tensors="pt"
    ).input_ids
    # One after the other: two 7B models in float32 would need 56 GB.
    unmerged = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base, torch_dtype=torch.float32), adapter
    )
    wanted = log_probabilities(unmerged, ids)
    del unmerged
    found = log_probabilities(AutoModelForCausalLM.from_pretrained(merged, torch_dtype=torch.float32), ids)
    likely = wanted.topk(5, dim=-1).indices
    return (found.gather(-1, likely) - wanted.gather(-1, likely)).abs().max().item()


def main(base: str, adapter: str, merged: str) -> None:
    """Merge, compare, and only then give the folder its name; exit 1 beyond the tolerance."""
    partial = Path(merged + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "xtuner.tools.model_converters.merge",
            base,
            adapter,
            str(partial),
            "--device",
            "cpu",
            "--safe-serialization",
        ],
        check=True,
    )
    if not list(partial.glob("*.safetensors")):
        sys.exit(f"xtuner's merge ended without an error and wrote no weights to {partial}")
    worst = largest_difference(base, adapter, str(partial))
    if not worst <= TOLERANCE:
        sys.exit(
            f"merged and base + adapter differ by {worst:.4f} nats, {TOLERANCE} allowed: the merge used another base model, or lost layers"
        )
    shutil.rmtree(merged, ignore_errors=True)
    partial.rename(merged)
    print(
        "RESULT "
        + json.dumps(
            {
                "merged_path": merged,
                "largest_difference": round(worst, 6),
                "model_hash": folder_hash(Path(merged)),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:4])
