"""What `train` and `export_model` hand on."""

from __future__ import annotations

from sqltune.contracts import ExportedModel, TrainedCheckpoint

TRAINED = TrainedCheckpoint(
    config="~/code/runs/r1/train/try1/config/lab_lora.py",
    checkpoint="~/code/runs/r1/train/try1/iter_4.pth",
    steps=4,
    loss=1.0,
    seconds=10.0,
    launch_skew=0.01,
    launch_skew_error=0.001,
)
EXPORTED = ExportedModel(
    adapter_path="/code/adapter",
    adapter_hash="adapter-hash",
    layers=14,
    checkpoint_hash="checkpoint-hash",
    merged_path="/code/merged",
    model_hash="merged-hash",
    largest_difference=0.001,
)
