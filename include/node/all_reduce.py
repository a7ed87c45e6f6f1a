"""A real all-reduce over all ranks, with the backend that training will use: run under torchrun on every host.

A rendezvous that can't be reached, an interface that drops packets or a missing NCCL shows here in seconds, not after the model is loaded.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import timedelta

import torch
import torch.distributed as dist

MEGABYTES = 16


def main(backend: str) -> None:
    """Sum a tensor of MEGABYTES over all ranks, twice (the second is timed), and check the sum."""
    dist.init_process_group(backend, timeout=timedelta(seconds=60))
    rank, world = dist.get_rank(), dist.get_world_size()
    device = torch.device("cpu")
    if backend == "nccl":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        device = torch.device("cuda")
    for _ in range(2):
        values = torch.full((MEGABYTES * 2**20 // 4,), float(rank + 1), device=device)
        began = time.perf_counter()
        dist.all_reduce(values)
        total = values[0].item()
        seconds = time.perf_counter() - began
    wanted = world * (world + 1) / 2
    if total != wanted:
        raise SystemExit(f"the sum over {world} ranks is {total}, {wanted} wanted")
    if rank == 0:
        print(
            f"all-reduce of {MEGABYTES} MiB over {world} ranks with {backend}: {seconds * 1000:.0f} ms, {MEGABYTES / 1024 / seconds:.2f} GiB/s",
            flush=True,
        )
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
