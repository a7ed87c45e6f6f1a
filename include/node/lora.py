"""LoRA adapters in PEFT's format: what they hold, and whether they fit a base model.

Reads a JSON file and the headers of weights. Standard library only: `serving.py` looks before it starts
anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
Shapes = Mapping[str, tuple[int, ...]]
"""The shape of each weight by its name."""

SHOWN = 3
"""Weights that a message names."""
_REMEDY = "set serving.adapters to merged in the cluster file"
_NAME = re.compile(r"base_model\.model\.(?P<module>model\.layers\..+)\.lora_(?P<side>[AB])\.weight")
_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "use_dora": (False, None),
    "lora_bias": (False, None),
    "fan_in_fan_out": (False, None),
    "modules_to_save": (None, []),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "layer_replication": (None, []),
    # The others begin by changing the base model's own weights.
    "init_lora_weights": (True, False, None, "gaussian"),
}
"""Values of adapter_config.json with which an adapter is A and B for linear layers, and one factor."""


class AdapterError(Exception):
    """An adapter that cannot be served unmerged; the message says why and what to do."""


@dataclass(frozen=True)
class Lora:
    """An adapter's folder.

    Attributes:
        folder: The folder.
        rank: Rank r of its matrices.
        scaling: Factor of B·A.
        shapes: Shapes of its weights by the names in the file.
    """

    folder: Path
    rank: int
    scaling: float
    shapes: Shapes

    @property
    def modules(self) -> list[str]:
        """Names of the base model's layers that it changes, sorted."""
        return sorted({match["module"] for name in self.shapes if (match := _NAME.fullmatch(name))})


def weight_name(module: str, side: str) -> str:
    """Name of a weight in an adapter's file.

    Args:
        module: Name of the base model's layer.
        side: A or B.
    """
    return f"base_model.model.{module}.lora_{side}.weight"


def read(folder: Path) -> Lora:
    """Read an adapter's configuration and the shapes of its weights.

    Raises:
        AdapterError: There is none, or it is no plain LoRA of linear layers.
    """
    try:
        config = json.loads((folder / CONFIG).read_text())
        shapes = header_shapes(folder / WEIGHTS)
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise AdapterError(
            f"{folder} holds no whole adapter ({type(e).__name__}: {e}): choose another version, or train "
            "again"
        ) from e
    for field, plain in _PLAIN.items():
        if config.get(field, plain[0]) not in plain:
            raise AdapterError(
                f"the adapter in {folder} has {field} {config[field]!r}, and unmerged {plain[0]!r} is "
                f"expected: {_REMEDY}"
            )
    for name in sorted(shapes):
        if not _NAME.fullmatch(name):
            raise AdapterError(
                f"the adapter in {folder} has the weight {name}, and unmerged A and B of linear layers under "
                f"model.layers are expected: {_REMEDY}"
            )
    return Lora(folder, rank, alpha / (rank**0.5 if config.get("use_rslora") else rank), shapes)


def fit_problem(lora: Lora, base: Path, base_shapes: Shapes) -> str | None:
    """Why an adapter does not fit a base model; None when it does.

    Args:
        lora: The adapter.
        base: Folder of the base model, for the message.
        base_shapes: Shapes of the base model's weights.
    """
    wrong = [problem for module in lora.modules if (problem := _module_problem(lora, module, base_shapes))]
    if lora.modules and not wrong:
        return None
    more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    return (
        f"the adapter in {lora.folder} does not fit the base model in {base} "
        f"({'; '.join(wrong[:SHOWN]) or 'it has no weights'}{more}): it is of another model; choose another "
        "version, or name its base model in the recipe"
    )


def _module_problem(lora: Lora, module: str, base_shapes: Shapes) -> str | None:
    a, b = (lora.shapes.get(weight_name(module, side)) for side in "AB")
    expected = base_shapes.get(f"{module}.weight")
    if a is None or b is None:
        return f"{module} has only one of A and B"
    if expected is None:
        return f"{module} is not in the base model"
    if (a[0], b[1]) != (lora.rank, lora.rank):
        return f"{module} has A {list(a)} and B {list(b)}, and rank {lora.rank}"
    if (b[0], a[1]) != expected:
        return f"{module} is {list(expected)} in the base model, and the adapter's is {[b[0], a[1]]}"
    return None


def model_shapes(folder: Path) -> Shapes:
    """Shapes of a model's weights, from its safetensors files; empty where it has none."""
    return {
        name: shape for path in folder.glob("*.safetensors") for name, shape in header_shapes(path).items()
    }


def header_shapes(path: Path) -> Shapes:
    """Shapes of the weights in a safetensors file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no such file.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError(f"{path.name} is cut off, or no safetensors file")
        header = json.loads(file.read(length))
    return {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
