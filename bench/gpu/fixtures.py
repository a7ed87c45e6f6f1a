"""The recorded answers of nvidia-smi and rocm-smi as fixtures of the tests."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from bench.gpu.report import Result

FOLDER = Path(__file__).resolve().parents[2] / "tests/ssh_gang/gpus"


def write(result: Result, folder: Path = FOLDER) -> list[Path]:
    """Write each answer to a file with the card's name, and a line about it into the folder's README.md.

    Args:
        result: Of a run.
        folder: Where the fixtures are.

    Returns:
        The files.

    Raises:
        SystemExit: The result has no recorded answers.
    """
    queries = result["parts"].get("queries", {})
    if queries.get("status") != "ok":
        found = queries.get("error", "it was not run")
        raise SystemExit(
            f"part queries of the result: {found}; expected its recorded calls: run it on a card"
        )
    machine = result["parts"]["machine"]["result"]
    card = machine["cards"][0]["name"] if machine["cards"] else "no card"
    source = (
        f"a host with {len(machine['cards'])} x {card}, driver {machine['driver']}, by `python -m bench.gpu`"
    )
    files = []
    for call in distinct(queries["result"]["calls"]):
        files += write_call(call, folder, slug(card), source)
    return files


def write_call(call: dict[str, Any], folder: Path, card: str, source: str) -> list[Path]:
    """Write a call's output, and what it wrote to stderr where that is anything."""
    command = shlex.join(call["command"])
    origin = source if call["exit_code"] == 0 else f"{source}; exit code {call['exit_code']}"
    outputs = {f"{card}-{call['query']}{suffix(call['command'])}": call["stdout"]}
    if call["stderr"]:
        outputs[f"{card}-{call['query']}-stderr.txt"] = call["stderr"]
    for name, text in outputs.items():
        (folder / name).write_text(text, encoding="utf-8")
        describe(folder / "README.md", name, command, origin)
    return [folder / name for name in outputs]


def distinct(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The calls without those whose command was asked before."""
    by_command = {tuple(call["command"]): call for call in reversed(calls)}
    return list(reversed(by_command.values()))


def suffix(command: list[str]) -> str:
    """Suffix of a file with the output of a command."""
    text = " ".join(command)
    return ".json" if "--json" in text else ".csv" if "csv" in text else ".txt"


def slug(name: str) -> str:
    """A card's name as a part of a file's: `NVIDIA H200` is `nvidia-h200`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def describe(readme: Path, name: str, command: str, source: str) -> None:
    """Put a file's line into the table of the README, in place of one of the same file."""
    lines = readme.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith(f"| {name} |")]
    readme.write_text("\n".join([*kept, f"| {name} | `{command}` | {source} |"]) + "\n", encoding="utf-8")
