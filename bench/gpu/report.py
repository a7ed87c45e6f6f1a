"""A run's result as the Markdown table of docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Result = dict[str, Any]
"""device (`cuda` or `cpu`), and parts: by name, each outcome with status, seconds, and result or error."""

STRATEGIES = ("zero3_offload", "zero2", "ddp")
ENGINES = ("fastchat", "batched")
AT_ONCE = (1, 4, 16, 64)


def table(result: Result) -> str:
    """The table with one column, which has the card's name."""
    rows = [
        ("driver; PyTorch; CUDA or ROCm", cell(result, "machine", versions)),
        ("all-reduce of 16 MiB", cell(result, "all_reduce", all_reduce)),
        *((f"training, {s}", cell(result, f"training_{s}", training)) for s in STRATEGIES),
        *(
            (f"answers a second, {engine}, {number} at once", rate(result, engine, number))
            for engine in ENGINES
            for number in AT_ONCE
        ),
        ("answers of batched that differ from FastChat's, one at a time", differing(result)),
    ]
    return "\n".join([f"| measure | {cards(result)} |", "|---|---|", *(f"| {m} | {v} |" for m, v in rows)])


def cards(result: Result) -> str:
    """The cards' name and number."""
    found = result["parts"]["machine"].get("result", {}).get("cards", [])
    return f"{len(found)} x {found[0]['name']}" if found else "no card"


def cell(result: Result, part: str, text: Callable[[dict[str, Any]], str]) -> str:
    """What a part measured, or in one line why it did not."""
    outcome = result["parts"].get(part, {"status": "not run"})
    if outcome["status"] == "ok":
        return text(outcome["result"])
    return str(outcome["status"])


def versions(machine: dict[str, Any]) -> str:
    runtime = f"ROCm {machine['rocm']}" if machine["rocm"] else f"CUDA {machine['cuda']}"
    return f"{machine['driver']}; {machine['torch']}; {runtime}"


def all_reduce(measured: dict[str, Any]) -> str:
    return f"{measured['seconds'] * 1000:.2f} ms, {ranks(measured['world_size'])}, {measured['backend']}"


def training(measured: dict[str, Any]) -> str:
    peak = measured["peak_memory_mib"]
    memory = f", {peak} MiB at most" if peak else ""
    return f"{measured['seconds_per_iteration']:.3f} s an iteration{memory}, {ranks(measured['ranks'])}"


def ranks(number: int) -> str:
    return "1 rank, alone" if number == 1 else f"{number} ranks"


def rate(result: Result, engine: str, number: int) -> str:
    def of(measured: dict[str, Any]) -> str:
        # JSON's keys are texts.
        by_number = {int(key): value for key, value in measured["answers_per_second"].items()}
        return str(by_number.get(number, "not run"))

    return cell(result, f"serving_{engine}", of)


def differing(result: Result) -> str:
    """How many of the answers are not those of the other engine; a random model's are close calls."""
    first, second = (result["parts"].get(f"serving_{engine}", {}).get("result") for engine in ENGINES)
    if not first or not second:
        return "not run"
    # Read from the file, the keys are texts; in the run itself as well, as each part writes a file.
    pairs = list(zip(first["answers"]["1"], second["answers"]["1"], strict=True))
    return f"{sum(a != b for a, b in pairs)} of {len(pairs)}"
