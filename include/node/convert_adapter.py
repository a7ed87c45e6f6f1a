"""Turn a DeepSpeed checkpoint folder into a Hugging Face adapter with xtuner, and check the outcome.

    python convert_adapter.py '{"config": …, "checkpoint": …, "adapter": …, "world_size": 2}'

xtuner's converter exits with 0 when it has failed, so the shards are counted first and the weights inspected
afterwards.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from hashing import folder_hash
from sqltune.node_contracts.adapter import CONVERT_ADAPTER, Adapter, ConvertRequest


def convert(request: ConvertRequest) -> Adapter:
    """Convert; exits with 1 when a shard is missing, or when no weight of the adapter was trained."""
    checkpoint, adapter = (Path(p).expanduser() for p in (request.checkpoint, request.adapter))
    _require_all_shards(checkpoint, request.world_size)
    partial = adapter.with_name(f"{adapter.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    _run_xtuner(Path(request.config).expanduser(), checkpoint, partial)
    layers = _trained_layers(partial / "adapter_model.safetensors")
    shutil.rmtree(adapter, ignore_errors=True)
    partial.rename(adapter)
    return Adapter(
        adapter_path=str(adapter),
        layers=layers,
        checkpoint_hash=folder_hash(checkpoint),
        adapter_hash=folder_hash(adapter),
    )


def _require_all_shards(checkpoint: Path, world_size: int) -> None:
    shards = sorted(p.name for p in checkpoint.glob("*_optim_states.pt"))
    if len(shards) != world_size:
        sys.exit(
            f"{checkpoint} has {len(shards)} of {world_size} shards ({', '.join(shards) or 'none'}): "
            "gather the others from their hosts"
        )


def _run_xtuner(config: Path, checkpoint: Path, target: Path) -> None:
    command = [sys.executable, "-m", "xtuner.tools.model_converters.pth_to_hf"]
    subprocess.run([*command, config, checkpoint, target, "--safe-serialization"], check=True)


def _trained_layers(weights: Path) -> int:
    """Number of the adapter's layers; exits with 1 when none was trained."""
    if not weights.is_file():
        sys.exit(f"xtuner's converter exited with 0 and wrote no {weights.name}: its output is above")
    from safetensors.torch import load_file

    # lora_B starts at zero, and stays there in a layer that was not trained.
    trained = [bool(tensor.any()) for name, tensor in load_file(weights).items() if "lora_B" in name]
    if not any(trained):
        sys.exit(f"none of the {len(trained)} layers of the adapter was trained: every lora_B is zero")
    return len(trained)


if __name__ == "__main__":
    CONVERT_ADAPTER.main(convert)
