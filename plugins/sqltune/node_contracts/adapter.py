"""`convert_adapter.py` and `merge_adapter.py`: from a checkpoint's shards to a merged model."""

from __future__ import annotations

from pydantic import Field

from sqltune.node_contracts.script import NodeModel, NodeScript


class ConvertRequest(NodeModel):
    """The checkpoint to convert."""

    config: str = Field(description="The xtuner config it was trained with.")
    checkpoint: str = Field(description="Folder with the shards of all ranks.")
    adapter: str = Field(description="Folder for the Hugging Face adapter.")
    world_size: int = Field(ge=1, description="Ranks that wrote the checkpoint, one shard each.")


class Adapter(NodeModel):
    """What `convert_adapter` left on the serving host."""

    adapter_path: str = Field(description="Folder of the Hugging Face adapter.")
    layers: int = Field(description="Layers with a trained weight.")
    checkpoint_hash: str = Field(description="Hash of the gathered checkpoint's files.")
    adapter_hash: str = Field("", description="Hash of the adapter's files; empty: of an earlier version.")


class MergeRequest(NodeModel):
    """The adapter to merge."""

    base_model: str = Field(description="Folder of the base model.")
    adapter: str = Field(description="Folder of the adapter.")
    merged: str = Field(description="Folder for the merged model.")


class MergedModel(NodeModel):
    """What `merge_adapter` left on the serving host."""

    merged_path: str = Field(description="Folder of the merged model.")
    model_hash: str = Field(description="Hash of its files.")
    largest_difference: float = Field(
        description="Largest difference to base model + adapter, in nats, over the likeliest tokens."
    )


CONVERT_ADAPTER = NodeScript("convert_adapter.py", ConvertRequest, Adapter)
MERGE_ADAPTER = NodeScript("merge_adapter.py", MergeRequest, MergedModel)
