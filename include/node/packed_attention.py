"""Attention that stays inside each example of a packed row: `custom_hooks = [dict(type=PackedAttention)]`.

xtuner's own way (`use_varlen_attn` of its model) needs FlashAttention; without it, attention goes over the
whole row in silence. This hook needs a data set and a collate function with `use_varlen_attn=True`, which
restart the positions at each example, and a model without. transformers' FlashAttention then finds the
examples by their positions; SDPA gets a mask.
"""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook


def block_diagonal(bounds: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return the mask of one packed row, to be added to attention scores: (1, 1, tokens, tokens).

    Args:
        bounds: Where each example begins, and at last where the row ends.
        dtype: Of the attention's queries; SDPA accepts no other.
    """
    tokens = int(bounds[-1])
    example = torch.bucketize(torch.arange(tokens, device=bounds.device), bounds[1:], right=True)
    allowed = (example[:, None] == example[None, :]).tril()
    mask = torch.zeros(tokens, tokens, dtype=dtype, device=bounds.device)
    return mask.masked_fill(~allowed, torch.finfo(dtype).min)[None, None]


class PackedAttention(Hook):  # type: ignore[misc]  # mmengine has no types
    """Adds the mask to each batch, where the attention needs one."""

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Called by mmengine with the batch that the model is about to get."""
        data = data_batch["data"]
        # What xtuner's own FlashAttention would read.
        bounds = data.pop("cumulative_len")[0]
        data.pop("max_seqlen")
        llm = getattr(runner.model, "module", runner.model).llm
        if llm.config._attn_implementation != "flash_attention_2":
            data["attention_mask"] = block_diagonal(bounds, llm.get_input_embeddings().weight.dtype)
