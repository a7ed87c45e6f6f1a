"""How the measures print their results, and what several of them measure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bench.gang_measures import quantile


def report(measure: str, value: float, unit: str, **more: Any) -> None:
    """Print one result as a line of JSON.

    Args:
        measure: What was measured.
        value: The result.
        unit: Its unit.
        more: Further keys of the line, such as how many of what there were.
    """
    print(
        json.dumps({"measure": measure, "value": round(value, 3), "unit": unit, **more}, ensure_ascii=False),
        flush=True,
    )


def report_spread(measure: str, values: Sequence[float], unit: str, **more: Any) -> None:
    """Print the median and the 95th percentile of several values as a line of JSON."""
    p50, p95 = (round(quantile(values, q), 3) for q in (0.5, 0.95))
    found = {"measure": measure, "p50": p50, "p95": p95, "unit": unit, "times": len(values), **more}
    print(json.dumps(found, ensure_ascii=False), flush=True)
