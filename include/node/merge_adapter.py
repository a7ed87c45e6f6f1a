"""Merge an adapter into its base model with xtuner, and check that the merged model is base + adapter.

    python merge_adapter.py '{"base_model": …, "adapter": …, "merged": …}'

The merged folder gets its name only when the log-probabilities agree. They are compared on a real prompt, in
float32, on the CPU.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashing import folder_hash
from sqltune.node_contracts.adapter import MERGE_ADAPTER, MergedModel, MergeRequest
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


def merge(request: MergeRequest) -> MergedModel:
    """Merge, compare, and then name the folder; exits with 1 when the difference exceeds the tolerance."""
    base, adapter, merged = (
        Path(p).expanduser() for p in (request.base_model, request.adapter, request.merged)
    )
    partial = merged.with_name(f"{merged.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    _run_xtuner(base, adapter, partial)
    difference = largest_difference(base, adapter, partial)
    # NaN is not within the tolerance either.
    if not difference <= TOLERANCE:
        sys.exit(
            f"the merged model and base + adapter differ by {difference:.4f} nats, {TOLERANCE} are allowed: "
            "the merge used another base model, or lost layers"
        )
    shutil.rmtree(merged, ignore_errors=True)
    partial.rename(merged)
    return MergedModel(
        merged_path=str(merged), largest_difference=round(difference, 6), model_hash=folder_hash(merged)
    )


def _run_xtuner(base: Path, adapter: Path, target: Path) -> None:
    command = [sys.executable, "-m", "xtuner.tools.model_converters.merge"]
    options = ["--device", "cpu", "--safe-serialization"]
    subprocess.run([*command, base, adapter, target, *options], check=True)
    if not list(target.glob("*.safetensors")):
        sys.exit(f"xtuner's merge exited with 0 and wrote no weights to {target}: its output is above")


def largest_difference(base: Path, adapter: Path, merged: Path) -> float:
    """Largest difference between the merged model and base + adapter, in nats."""
    from peft import PeftModel
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(base)(render(QUESTION, CONTEXT), return_tensors="pt").input_ids
    # One model after the other: two 7B models in float32 would need 56 GB.
    expected = log_probabilities(PeftModel.from_pretrained(_load(base), adapter), ids)
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


if __name__ == "__main__":
    MERGE_ADAPTER.main(merge)
