"""Parse the output of nvidia-smi and rocm-smi."""

from __future__ import annotations

import csv
import json

from pydantic import BaseModel, Field

from ssh_gang.progress import MOST

MIB = 1024 * 1024
_TEMPERATURE = "Temperature (Sensor {}) (C)"


class Gpu(BaseModel, frozen=True):
    """One GPU at one moment."""

    index: int = Field(ge=0, le=MOST, description="Number of the GPU on its host.")
    use: float | None = Field(
        None,
        allow_inf_nan=False,
        description="Share of the time in which it computed, in percent; None where it is not reported.",
    )
    memory_used: int = Field(ge=0, le=MOST, description="Memory in use, in MiB.")
    memory_total: int = Field(ge=0, le=MOST, description="Memory in all, in MiB.")
    temperature: float | None = Field(
        None,
        allow_inf_nan=False,
        description="Temperature in degrees Celsius; None where it is not reported.",
    )

    def __str__(self) -> str:
        use = "?" if self.use is None else f"{self.use:.0f}"
        return f"gpu{self.index} {use} % {self.memory_used}/{self.memory_total} MiB"


def parse(text: str) -> list[Gpu]:
    """Return the GPUs in the output of either tool; none where it is neither's, such as a driver's error.

    Args:
        text: Output of `rocm-smi --showuse --showmeminfo vram --showtemp --json`, or of `nvidia-smi
            --format=csv --query-gpu=index,utilization.gpu,memory.used,memory.total,temperature.gpu`, where
            more columns, none for the temperature, and another order do no harm.
    """
    text = text.strip()
    return _rocm(text) if text.startswith("{") else _nvidia(text)


def _nvidia(text: str) -> list[Gpu]:
    rows = csv.DictReader(text.splitlines(), skipinitialspace=True)
    return [gpu for row in rows if (gpu := _nvidia_gpu(row))]


def _nvidia_gpu(row: dict[str, str | list[str]]) -> Gpu | None:
    """The GPU of one row; None for a row of error texts, such as the one of a GPU that fell off the bus."""
    # Names and values carry their units: `memory.used [MiB]`, `575 MiB`. A value that is not counted is
    # `[N/A]`. DictReader puts surplus values into a list under the key None.
    values = {
        (name or "").split(" [")[0]: (value or "").removesuffix(" MiB").removesuffix(" %")
        for name, value in row.items()
        if not isinstance(value, list)
    }
    try:
        return Gpu(
            index=int(values["index"]),
            use=_number(values["utilization.gpu"]),
            memory_used=int(values["memory.used"]),
            memory_total=int(values["memory.total"]),
            temperature=_number(values.get("temperature.gpu", "")),
        )
    except (ValueError, KeyError):
        return None


def _rocm(text: str) -> list[Gpu]:
    try:
        cards: dict[str, dict[str, str]] = json.loads(text)
    except ValueError:
        return []
    # The object has a "system" beside the cards.
    found = (_rocm_gpu(name, card) for name, card in cards.items() if name.startswith("card"))
    return [gpu for gpu in found if gpu]


def _rocm_gpu(name: str, card: dict[str, str]) -> Gpu | None:
    """The GPU of one card; None where its memory is not reported."""
    try:
        return Gpu(
            index=int(name.removeprefix("card")),
            use=_number(card.get("GPU use (%)", "")),
            memory_used=int(card["VRAM Total Used Memory (B)"]) // MIB,
            memory_total=int(card["VRAM Total Memory (B)"]) // MIB,
            # An MI300 has no sensor at its edge.
            temperature=_number(
                card.get(_TEMPERATURE.format("edge"), card.get(_TEMPERATURE.format("junction"), ""))
            ),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _number(text: str) -> float | None:
    """A number; None for `[N/A]` or `N/A`, where the GPU does not measure it."""
    try:
        return float(text)
    except ValueError:
        return None
