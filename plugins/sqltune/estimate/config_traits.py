"""What an xtuner config decides about memory and steps, read from the file itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from sqltune.config.xtuner_config import parse, read_config
from ssh_gang.model import Model

NF4_BITS = 4.127
"""Bits of a weight in NF4 with double quantization (QLoRA, arXiv:2305.14314, section 3)."""
_WIDTHS = {"torch.float32": 32.0, "torch.float16": 16.0, "torch.bfloat16": 16.0}


class ConfigTraits(Model):
    """What a config says of its model and its rows.

    Attributes:
        packed: Whether rows are joined until they have `max_length` tokens.
        weight_bits: Bits of a frozen weight in a linear layer.
        checkpointing: Whether activations are computed again in the backward pass.
        lora_dropout: Whether the adapter has a dropout.
    """

    packed: bool
    weight_bits: float
    checkpointing: bool
    lora_dropout: bool


def traits(xtuner_config: str) -> ConfigTraits:
    """Read the traits of a file in include/configs/xtuner.

    A value that the file computes counts as xtuner's default.
    """
    tree = parse(read_config(xtuner_config))
    values = dict(_values(tree))
    bits = (
        NF4_BITS if values.get("load_in_4bit") == "True" else _WIDTHS.get(values.get("torch_dtype", ""), 16)
    )
    return ConfigTraits(
        packed=values.get("pack_to_max_length") == "True",
        weight_bits=bits,
        checkpointing=values.get("use_activation_checkpointing", "True") == "True",
        lora_dropout=float(values.get("lora_dropout", "0")) > 0,
    )


def _values(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Arguments of calls, and after them assignments: `pack_to_max_length` is passed on under its name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg:
            yield node.arg, ast.unparse(node.value)
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            yield statement.targets[0].id, ast.unparse(statement.value)
