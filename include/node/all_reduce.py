"""A real all-reduce over all ranks with the backend of the training; runs under torchrun on every host.

An unreachable rendezvous, an interface that drops packets, or a missing NCCL shows here within seconds,
instead of after the model is loaded.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta

import torch
import torch.distributed as dist

from sqltune.node_contracts.all_reduce import ALL_REDUCE, AllReduceRequest, AllReduceResponse

MEBIBYTES = 16
TIMEOUT = timedelta(seconds=60)


def reduce(request: AllReduceRequest) -> AllReduceResponse | None:
    """Sum a tensor of `MEBIBYTES` over all ranks twice, time the second sum, and check its value.

    Returns:
        What rank 0 measured; None on the other ranks.
    """
    dist.init_process_group(request.backend, timeout=TIMEOUT)
    rank, world_size = dist.get_rank(), dist.get_world_size()
    for _ in range(2):
        total, seconds = _sum_over_ranks(_device(request.backend))
    expected = world_size * (world_size + 1) / 2
    if total != expected:
        raise SystemExit(f"the sum over {world_size} ranks is {total}, expected {expected}")
    dist.barrier()
    dist.destroy_process_group()
    if rank:
        return None
    measured = AllReduceResponse(
        backend=request.backend, world_size=world_size, mebibytes=MEBIBYTES, seconds=seconds
    )
    print(measured, flush=True)
    return measured


def _device(backend: str) -> torch.device:
    if backend != "nccl":
        return torch.device("cpu")
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return torch.device("cuda")


def _sum_over_ranks(device: torch.device) -> tuple[float, float]:
    """One all-reduce: an element of the sum, and its time in seconds."""
    values = torch.full((MEBIBYTES * 2**20 // 4,), float(dist.get_rank() + 1), device=device)
    began = time.perf_counter()
    dist.all_reduce(values)
    # Reading an element waits for the GPU.
    total = values[0].item()
    return total, time.perf_counter() - began


if __name__ == "__main__":
    ALL_REDUCE.main(reduce)
