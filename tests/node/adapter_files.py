"""Folders of a base model and of its adapters, with headers in place of weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

LAYER = "model.layers.0.self_attn.q_proj"


def write_weights(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """A safetensors file of zeros."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 4 * shape[0] * shape[1]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header | {"__metadata__": {"format": "pt"}}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"\0" * end)


def make_base(folder: Path, width: int = 6) -> Path:
    """A base model with one layer of `width` by 4."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    write_weights(folder / "model.safetensors", {f"{LAYER}.weight": (width, 4)})
    return folder


def make_adapter(folder: Path, rank: int = 2, width: int = 6, layer: str = LAYER, **config: object) -> Path:
    """An adapter of one layer."""
    folder.mkdir()
    content = {"peft_type": "LORA", "r": rank, "lora_alpha": 16, "bias": "none", **config}
    (folder / "adapter_config.json").write_text(json.dumps(content))
    name = f"base_model.model.{layer}.lora_"
    shapes = {f"{name}A.weight": (rank, 4), f"{name}B.weight": (width, rank)}
    write_weights(folder / "adapter_model.safetensors", shapes)
    return folder
