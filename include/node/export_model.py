"""From a DeepSpeed checkpoint to a model that can be served: convert, merge, compare.

    python export_model.py '{"config": …, "checkpoint": …, "base_model": …, "adapter": …, "merged": …, …}'

xtuner's own two tools run in this process, one after the other: a process for each would import torch and
xtuner twice. Each folder gets its name only when it is whole and checked.
"""

from __future__ import annotations

import gc
import shutil
import sys
from pathlib import Path
from types import ModuleType

from hashing import file_hash, folder_hash
from merged_check import TOLERANCE, largest_difference
from sqltune.node_contracts.export import EXPORT_MODEL, ExportedModel, ExportRequest

CONVERTED_FROM = "checkpoint_hash"
"""File in an adapter's folder: hashes of the checkpoint that it was converted from, and of its files."""


def export(request: ExportRequest) -> ExportedModel:
    """Convert, merge and compare; exits with 1 when a shard is missing or a check fails."""
    config, checkpoint, base, adapter, merged = (
        Path(p).expanduser()
        for p in (request.config, request.checkpoint, request.base_model, request.adapter, request.merged)
    )
    _require_all_shards(checkpoint, request.world_size)
    checkpoint_hash = folder_hash(checkpoint)
    if _is_converted(adapter, checkpoint_hash):
        print(f"{adapter} is there already, of this checkpoint: it is merged again", flush=True)
    else:
        convert(config, checkpoint, checkpoint_hash, adapter)
    layers = _trained_layers(adapter)
    difference = merge(base, adapter, merged)
    return ExportedModel(
        adapter_path=str(adapter),
        adapter_hash=folder_hash(adapter),
        layers=layers,
        checkpoint_hash=checkpoint_hash,
        merged_path=str(merged),
        model_hash=folder_hash(merged),
        largest_difference=round(difference, 6),
    )


def _require_all_shards(checkpoint: Path, world_size: int) -> None:
    shards = sorted(p.name for p in checkpoint.glob("*_optim_states.pt"))
    if len(shards) != world_size:
        sys.exit(
            f"{checkpoint} has {len(shards)} of {world_size} shards ({', '.join(shards) or 'none'}): "
            "gather the others from their hosts"
        )


def _is_converted(adapter: Path, checkpoint_hash: str) -> bool:
    """Whether an earlier try converted this checkpoint, failed afterwards, and its adapter is whole."""
    mark = adapter / CONVERTED_FROM
    return mark.is_file() and mark.read_text(errors="replace") == mark_of(adapter, checkpoint_hash)


def mark_of(adapter: Path, checkpoint_hash: str) -> str:
    """What `CONVERTED_FROM` holds.

    Files too, because a host that loses power may keep the folder's name and not what its files hold.

    Args:
        adapter: The adapter's folder.
        checkpoint_hash: `folder_hash` of the checkpoint.
    """
    files = sorted(p for p in adapter.iterdir() if p.is_file() and p.name != CONVERTED_FROM)
    return "\n".join([checkpoint_hash, *(f"{file_hash(p)} {p.name}" for p in files)])


def convert(config: Path, checkpoint: Path, checkpoint_hash: str, adapter: Path) -> None:
    """Convert the checkpoint to a Hugging Face adapter; exits with 1 when no weight of it was trained."""
    from xtuner.tools.model_converters import pth_to_hf

    partial = _new_partial(adapter)
    _run(pth_to_hf, config, checkpoint, partial, "--safe-serialization")
    _trained_layers(partial)
    (partial / CONVERTED_FROM).write_text(mark_of(partial, checkpoint_hash))
    _replace(partial, adapter)


def _trained_layers(adapter: Path) -> int:
    """Number of the adapter's layers; exits with 1 when none was trained."""
    weights = adapter / "adapter_model.safetensors"
    if not weights.is_file():
        sys.exit(f"xtuner's converter reported no error and wrote no {weights.name}: its output is above")
    from safetensors.torch import load_file

    # lora_B starts at zero, and stays there in a layer that was not trained.
    trained = [bool(tensor.any()) for name, tensor in load_file(weights).items() if "lora_B" in name]
    if not any(trained):
        sys.exit(f"none of the {len(trained)} layers of the adapter was trained: every lora_B is zero")
    return len(trained)


def merge(base: Path, adapter: Path, merged: Path) -> float:
    """Merge the adapter into the base model, and return how far the result is from base + adapter, in nats.

    Exits with 1 when xtuner wrote no weights, or when the difference exceeds the tolerance.
    """
    from xtuner.tools.model_converters import merge as xtuner_merge

    partial = _new_partial(merged)
    _run(xtuner_merge, base, adapter, partial, "--device", "cpu", "--safe-serialization")
    if not list(partial.glob("*.safetensors")):
        sys.exit(f"xtuner's merge reported no error and wrote no weights to {partial}: its output is above")
    difference = largest_difference(base, adapter, partial)
    # NaN is not within the tolerance either.
    if not difference <= TOLERANCE:
        sys.exit(
            f"the merged model and base + adapter differ by {difference:.4f} nats, {TOLERANCE} are allowed: "
            "the merge used another base model, or lost layers"
        )
    _replace(partial, merged)
    return difference


def _run(tool: ModuleType, *arguments: str | Path) -> None:
    """Run one of xtuner's command-line tools in this process."""
    sys.argv = [tool.__name__, *map(str, arguments)]
    tool.main()
    # What a tool has loaded may be in cycles: the next model needs its memory.
    gc.collect()


def _new_partial(folder: Path) -> Path:
    """A name for a folder that is not whole yet; nothing of that name is there."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    return partial


def _replace(partial: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


if __name__ == "__main__":
    EXPORT_MODEL.main(export)
