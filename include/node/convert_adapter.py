"""Turn a DeepSpeed checkpoint folder into a Hugging Face adapter with xtuner, and look whether it really did.

    python convert_adapter.py CONFIG CHECKPOINT ADAPTER WORLD_SIZE

xtuner's converter ends with 0 when it has failed: the shards are counted before it, and its weights are looked at after it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from preflight import folder_hash


def main(config: str, checkpoint: str, adapter: str, world_size: int) -> None:
    """Convert; exit 1 with the missing shards, or when no weight of the adapter was trained."""
    shards = sorted(p.name for p in Path(checkpoint).glob("*_optim_states.pt"))
    if len(shards) != world_size:
        sys.exit(
            f"{checkpoint} has {len(shards)} of {world_size} shards ({', '.join(shards) or 'none'}): gather the others from their hosts"
        )
    partial = Path(adapter + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "xtuner.tools.model_converters.pth_to_hf",
            config,
            checkpoint,
            str(partial),
            "--safe-serialization",
        ],
        check=True,
    )
    weights = partial / "adapter_model.safetensors"
    if not weights.is_file():
        sys.exit(
            f"xtuner's converter ended without an error and wrote no {weights.name}; its words are above"
        )
    from safetensors.torch import load_file

    # lora_B starts at zero: what was never trained still is.
    trained = {name: bool(tensor.any()) for name, tensor in load_file(weights).items() if "lora_B" in name}
    if not trained or not any(trained.values()):
        sys.exit(f"none of the {len(trained)} layers of the adapter was trained: every lora_B is zero")
    shutil.rmtree(adapter, ignore_errors=True)
    partial.rename(adapter)
    print(
        "RESULT "
        + json.dumps(
            {
                "adapter_path": adapter,
                "layers": len(trained),
                "checkpoint_hash": folder_hash(Path(checkpoint)),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
