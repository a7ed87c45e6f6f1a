"""What nvidia-smi and rocm-smi say, as numbers."""

from __future__ import annotations

import csv
import json

from pydantic import BaseModel, Field

MIB = 1024 * 1024


class Gpu(BaseModel):
    """One card at one moment."""

    index: int = Field(description="Number of the card on its host.")
    use: float | None = Field(
        None, description="Share of the time it computed, in percent; None where the card does not say."
    )
    memory_used: int = Field(description="MiB.")
    memory_total: int = Field(description="MiB.")

    def __str__(self) -> str:
        return f"gpu{self.index} {'?' if self.use is None else f'{self.use:.0f}'} % {self.memory_used}/{self.memory_total} MiB"


def parse(text: str) -> list[Gpu]:
    """Cards from `nvidia-smi --query-gpu=index,utilization.gpu,memory.used,memory.total --format=csv` (more columns and any order do no harm)
    or from `rocm-smi --showuse --showmeminfo vram --json`; none from what is neither, such as a driver's error."""
    text = text.strip()
    return _rocm(text) if text.startswith("{") else _nvidia(text)


def _nvidia(text: str) -> list[Gpu]:
    found = []
    for row in csv.DictReader(text.splitlines(), skipinitialspace=True):
        # Names and values carry their units: `memory.used [MiB]`, `575 MiB`; what a card does not count is `[N/A]`.
        card = {
            (name or "").split(" [")[0]: (value or "").removesuffix(" MiB").removesuffix(" %")
            for name, value in row.items()
            if not isinstance(value, list)
        }
        try:
            found.append(
                Gpu(
                    index=int(card["index"]),
                    use=_number(card["utilization.gpu"]),
                    memory_used=int(card["memory.used"]),
                    memory_total=int(card["memory.total"]),
                )
            )
        except (ValueError, KeyError):
            continue
    return found


def _rocm(text: str) -> list[Gpu]:
    found = []
    try:
        cards = json.loads(text)
    except ValueError:
        return []
    for name, card in cards.items():
        # The answer holds a "system" beside the cards.
        if name.startswith("card") and "VRAM Total Memory (B)" in card:
            used, total = (int(card[f"VRAM Total {what} (B)"]) // MIB for what in ("Used Memory", "Memory"))
            found.append(
                Gpu(
                    index=int(name[4:]),
                    use=_number(card.get("GPU use (%)", "")),
                    memory_used=used,
                    memory_total=total,
                )
            )
    return found


def _number(text: str) -> float | None:
    """A share; cards that do not count it say `[N/A]` or `N/A`."""
    try:
        return float(text)
    except ValueError:
        return None
