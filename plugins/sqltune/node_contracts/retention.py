"""`retention.py`: old models and checkpoints are removed from a host."""

from __future__ import annotations

from pydantic import Field

from sqltune.node_contracts.script import NodeModel, NodeScript


class RetentionRequest(NodeModel):
    """What stays of which runs.

    Adapters, configs and logs always stay, and so does everything of a run that is not known.
    """

    runs: str = Field(description="Folder of all runs on the host; ~ is the home there.")
    work_dir: str = Field(description="The cluster's work folder, whose disk usage is reported.")
    known: list[str] = Field(description="Runs whose models and checkpoints may be removed.")
    merged: list[str] = Field(description="Runs that keep their merged model.")
    checkpoints: list[str] = Field(description="Runs that keep their checkpoints.")


class RetentionResponse(NodeModel):
    """What was removed, and the disk afterwards."""

    removed: list[str] = Field(description="Removed folders, relative to the folder of all runs.")
    freed_gib: float = Field(description="Space that became free, in GiB.")
    disk: dict[str, float] = Field(
        description="Sizes in GiB: total, free, and the folders `runs` and `data`."
    )


RETENTION = NodeScript("retention.py", RetentionRequest, RetentionResponse)
