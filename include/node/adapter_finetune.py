"""xtuner's model for fine-tuning, which can go on from an adapter in Hugging Face's format.

xtuner 0.2.0 has `peft_model` for that, takes a checkpoint of its own there, and passes over every name that
it does not find: a training would begin anew, and say nothing. The training configs import this module.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils import load_peft_weights
from xtuner.model import SupervisedFinetune

from hashing import folder_hash


class AdapterFinetune(SupervisedFinetune):  # type: ignore[misc]  # xtuner has no types
    """Train the adapter that `lora` describes, from the weights of another one where there is one.

    Args:
        peft_model: Folder of the adapter to go on from; None: a new one.
        adapter_digest: Hash of its files.
        options: What xtuner's `SupervisedFinetune` takes.
    """

    def __init__(self, *, peft_model: str | None, adapter_digest: str, **options: Any) -> None:
        self.adapter_digest = adapter_digest
        super().__init__(peft_model=peft_model, **options)

    def _prepare_for_lora(
        self, peft_model: str | None = None, use_activation_checkpointing: bool = True
    ) -> None:
        # Before DeepSpeed sees the model: later it would train its own copies of the weights.
        super()._prepare_for_lora(None, use_activation_checkpointing)
        if peft_model:
            load_adapter(self.llm, Path(peft_model), self.adapter_digest)


def load_adapter(llm: Any, folder: Path, digest: str) -> None:
    """Load every weight of an adapter into a model; exits with 1 unless all of them fit.

    Args:
        llm: A `peft.PeftModel` with an adapter of the same shape.
        folder: The adapter.
        digest: Expected hash of the folder's files.
    """
    if not folder.is_dir():
        sys.exit(f"{folder} is missing, which training was to go on from: set start_from to base")
    if (found := folder_hash(folder)) != digest:
        sys.exit(
            f"{folder} has the hash {found}, and the version's record says {digest}: it was changed, or did "
            "not arrive whole. Clear the task `train`; if it says so again, set start_from to base"
        )
    weights = load_peft_weights(str(folder), device="cpu")
    expected = get_peft_model_state_dict(llm)
    if shapes(weights) != shapes(expected):
        differing = sorted(shapes(weights).items() ^ shapes(expected).items())
        sys.exit(
            f"the adapter in {folder} does not fit: {len(weights)} weights, {len(expected)} expected; the "
            f"first that differs is {differing[0]}. Set lora_rank to the champion's, or start_from to base"
        )
    set_peft_model_state_dict(llm, weights)
    print_log(f"going on from the adapter in {folder}: {len(weights)} weights", "current", logging.INFO)


def shapes(weights: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shape of each weight by its name."""
    return {name: tuple(weight.shape) for name, weight in weights.items()}
