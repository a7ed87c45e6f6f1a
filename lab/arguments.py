"""The trigger form's values, from the variables that `make demo` takes."""

from __future__ import annotations

import json
import os

from lab.settings import DATA

EXAMPLE = """make demo ARGS='{"max_steps": 20}'"""


def form_values() -> dict[str, object]:
    """Read the form's values from ARGS (a JSON object) and DATASET (`dusql`, or nothing).

    Raises:
        SystemExit: a value cannot be used; the message says why, and gives an example.
    """
    return _dataset_values(os.environ.get("DATASET", "")) | _argument_values(os.environ.get("ARGS", ""))


def _argument_values(text: str) -> dict[str, object]:
    try:
        values = json.loads(text) if text.strip() else {}
    except ValueError as e:
        raise SystemExit(f"ARGS is not JSON ({e}); an example: {EXAMPLE}") from None
    if not isinstance(values, dict):
        raise SystemExit(
            f"ARGS is {type(values).__name__}, expected an object of form values; an example: {EXAMPLE}"
        )
    return values


def _dataset_values(name: str) -> dict[str, object]:
    if not name:
        return {}
    if name != "dusql":
        raise SystemExit(f"DATASET: {name!r} is not known (choices: dusql)")
    if not (DATA / "hub_dataset" / "train.jsonl").exists():
        raise SystemExit(
            f"DATASET=dusql: {DATA}/hub_dataset/train.jsonl does not exist: set SQLTUNE_DATA to the folder "
            "that holds hub_dataset"
        )
    return {"recipe": "lab_dusql"}
