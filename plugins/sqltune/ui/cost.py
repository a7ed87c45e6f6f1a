"""What a training cost."""

from __future__ import annotations

from collections.abc import Mapping


def gpu_hours(lineage: Mapping[str, str]) -> float | None:
    """Return the GPU-hours of a version's training; None where they were not recorded."""
    return float(lineage["gpu_hours"]) if "gpu_hours" in lineage else None


def price(gpu_hour_price: float | None, hours: float | None) -> float | None:
    """Return the price of a training's GPU-hours; None where the cluster file has no price."""
    return None if gpu_hour_price is None or hours is None else gpu_hour_price * hours
