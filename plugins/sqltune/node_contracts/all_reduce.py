"""`all_reduce.py`: a real all-reduce over all ranks, run under torchrun."""

from __future__ import annotations

from pydantic import Field

from sqltune.node_contracts.script import NodeModel, NodeScript


class AllReduceRequest(NodeModel):
    """What is to be tried."""

    backend: str = Field(description="Backend of torch.distributed that training will use: nccl or gloo.")


class AllReduceResponse(NodeModel):
    """What rank 0 measured."""

    backend: str = Field(description="Backend of torch.distributed.")
    world_size: int = Field(description="Ranks that took part.")
    mebibytes: int = Field(description="Size of the tensor, in MiB.")
    seconds: float = Field(description="Time of the second all-reduce; the first one warms up.")

    def __str__(self) -> str:
        rate = self.mebibytes / 1024 / self.seconds
        return (
            f"all-reduce of {self.mebibytes} MiB over {self.world_size} ranks with {self.backend}: "
            f"{self.seconds * 1000:.0f} ms, {rate:.2f} GiB/s"
        )


ALL_REDUCE = NodeScript("all_reduce.py", AllReduceRequest, AllReduceResponse)
