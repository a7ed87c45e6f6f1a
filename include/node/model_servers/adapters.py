"""An adapter and its base model, looked at before anything is started or replaced."""

from __future__ import annotations

import sys
from pathlib import Path

from hashing import folder_hash
from lora import AdapterError, fit_problem, model_shapes, read
from sqltune.node_contracts.serving import ServingSettings

VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Values of vLLM's --max-lora-rank."""


def require_adapter(settings: ServingSettings, model: str) -> None:
    """Exit where a base model is not as it was, or an adapter does not fit it.

    An engine would take an adapter of another model, and answer with what is left of it.

    Args:
        settings: With the base model.
        model: Folder of the adapter, or of the base model itself.
    """
    if settings.engine == "fastchat":
        sys.exit(
            "serving.adapters is unmerged, and engine fastchat serves whole models: set serving.engine to "
            "batched, or serving.adapters to merged"
        )
    base, folder = Path(settings.base_model).expanduser(), Path(model).expanduser()
    if not (base / "config.json").is_file():
        sys.exit(f"{base} holds no base model: copy it to this host, or set serving.adapters to merged")
    if settings.base_model_hash and (found := folder_hash(base)) != settings.base_model_hash:
        sys.exit(
            f"the base model in {base} has the hash {found}, and the adapter in {folder} was trained with "
            f"{settings.base_model_hash}: bring its files back, or set serving.adapters to merged"
        )
    if folder == base:
        return
    try:
        lora, shapes = read(folder), model_shapes(base)
    except (AdapterError, OSError, ValueError) as e:
        sys.exit(str(e))
    # Weights in PyTorch's own format have no header: the worker looks at them when it has loaded them.
    if shapes and (problem := fit_problem(lora, base, shapes)):
        sys.exit(problem)
    if settings.engine == "vllm" and lora.rank > VLLM_RANKS[-1]:
        sys.exit(
            f"the adapter in {folder} has rank {lora.rank}, and vLLM takes {VLLM_RANKS[-1]} at most: set "
            "serving.engine to batched, or serving.adapters to merged"
        )


def lora_rank(settings: ServingSettings, model: str) -> int:
    """The rank that a process is started for: vLLM makes room for it then; 0 where there is nothing to make.

    Args:
        settings: With the base model.
        model: Folder of the adapter, or of the base model itself.
    """
    if settings.engine != "vllm" or Path(model).expanduser() == Path(settings.base_model).expanduser():
        return 0
    rank = read(Path(model).expanduser()).rank
    return next(possible for possible in VLLM_RANKS if possible >= rank)
