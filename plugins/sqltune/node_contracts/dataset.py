"""`fetch_dataset.py`: a pinned commit of the dataset, downloaded, verified and split on a host."""

from __future__ import annotations

from pydantic import Field

from sqltune.node_contracts.data_check import DataCheck
from sqltune.node_contracts.script import NodeModel, NodeScript


class FetchRequest(NodeModel):
    """What to download, and how to prepare it."""

    repo: str = Field(description="Repository on the hub.")
    commit: str = Field(description="Commit that the run was pinned to.")
    files: list[str] = Field(description="Patterns of the files to read.")
    endpoint: str = Field(description="Address of the hub.")
    folder: str = Field(description="Folder of the pinned commit on the host.")
    split_dir: str = Field(description="Folder for the prepared rows on the host.")
    percent: int = Field(description="Percentage of databases that are held out.")
    questions: int = Field(ge=0, description="Held-out questions to return for the evaluation; 0 for none.")
    previous_commit: str | None = Field(None, description="Commit to compare with; None for no comparison.")
    previous_folder: str = Field("", description="Folder of that commit on the host.")
    max_length: int = Field(description="Tokens that a training example may have.")
    base_model: str = Field(description="Folder of the base model, whose tokenizer counts.")


class PreparedDataset(NodeModel):
    """What was prepared on the host."""

    train_path: str = Field(description="The training rows on this host.")
    held_out_path: str = Field(description="The held-out rows on this host.")
    train_hash: str = Field(description="Hash of the training rows.")
    counts: dict[str, int] = Field(description="Rows and databases, in training and held out.")
    longest: int = Field(description="Tokens of the longest training example.")
    tokens: int = Field(0, description="Tokens of all training examples; 0: of an earlier version.")
    files: list[str] = Field(description="Files of the dataset that were read.")


class FetchResponse(PreparedDataset):
    """What was prepared, and the questions for the evaluation."""

    held_out: list[dict[str, str]] = Field(description="The sampled rows: question, context and answer.")
    check: DataCheck | None = Field(
        None, description="What was found in the rows; None from a host that returns no questions."
    )


FETCH_DATASET = NodeScript("fetch_dataset.py", FetchRequest, FetchResponse)
