"""`export_model.py`: from a checkpoint's shards to a model that can be served."""

from __future__ import annotations

from pydantic import Field

from sqltune.node_contracts.script import NodeModel, NodeScript
from sqltune.node_contracts.serving import Adapters


class ExportRequest(NodeModel):
    """The checkpoint to export."""

    config: str = Field(description="The xtuner config it was trained with.")
    checkpoint: str = Field(description="Folder with the shards of all ranks.")
    world_size: int = Field(ge=1, description="Ranks that wrote the checkpoint, one shard each.")
    base_model: str = Field(description="Folder of the base model.")
    adapter: str = Field(description="Folder for the Hugging Face adapter.")
    merged: str = Field(description="Folder for the merged model.")


class ExportedModel(NodeModel):
    """What `export_model` left on the serving host."""

    adapter_path: str = Field(description="Folder of the Hugging Face adapter.")
    adapter_hash: str = Field(description="Hash of the adapter's files.")
    layers: int = Field(description="Layers with a trained weight.")
    checkpoint_hash: str = Field(description="Hash of the gathered checkpoint's files.")
    merged_path: str = Field(description="Folder of the merged model.")
    model_hash: str = Field(description="Hash of its files.")
    largest_difference: float = Field(
        description="Largest difference to base model + adapter, in nats, over the likeliest tokens."
    )

    def folder(self, adapters: Adapters) -> str:
        """The folder that is served: of the merged model, or of the adapter."""
        return self.adapter_path if adapters == "unmerged" else self.merged_path


EXPORT_MODEL = NodeScript("export_model.py", ExportRequest, ExportedModel)
