"""How a training reports a step (mmengine) and a checkpoint (`seal_checkpoint.py`) in its log."""

from __future__ import annotations

_NUMBER = r"[\d.eE+-]+|[+-]?nan|[+-]?inf"


def _optional(key: str, group: str, value: str) -> str:
    """A lookahead for `key: value` anywhere in the rest of the line; the line matches without it too."""
    return rf"(?=(?:.*?\b{key}: (?P<{group}>{value}))?)"


PROGRESS_PATTERN = (
    r"Iter\(train\)\s*\[\s*(?P<step>\d+)/(?P<total>\d+)\]"
    + _optional("lr", "lr", _NUMBER)
    + _optional("loss", "loss", _NUMBER)
    + _optional("time", "seconds_per_step", _NUMBER)
    + _optional("tokens_per_sec", "tokens_per_second", _NUMBER)
    + _optional("memory", "memory", r"\d+")
    + _optional("eta", "eta", r"(?:\d+ days?, )?\d+:\d\d:\d\d")
)
"""For lines such as `… Iter(train) [ 10/157]  lr: 1.0e-04  eta: 0:20:59  time: 8.5  loss: 1.2`."""

CHECKPOINT_PATTERN = r"\bcheckpoint iter_(?P<step>\d+)\.pth is sealed\b"
"""For the line that each host prints once its part of a checkpoint is whole, and hashed."""
