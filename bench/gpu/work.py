"""What each part is given, and how it says that it cannot run here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class LeftOut(Exception):
    """A part that cannot run on this machine; the message says why."""


@dataclass(frozen=True)
class Work:
    """What a part is given.

    Attributes:
        folder: Folder of the run, where the parts share the models that they make.
        device: `cuda` or `cpu`.
    """

    folder: Path
    device: str

    @property
    def on_cpu(self) -> bool:
        """Whether it is to run without a card."""
        return self.device == "cpu"
