"""The process of one part: python -m bench.gpu.process PART FOLDER DEVICE writes FOLDER/PART.json."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins"), str(ROOT / "include" / "node")]

from bench.gpu.work import LeftOut, Work  # noqa: E402

ERROR = 3000
"""Characters of an error that are kept, the last ones."""
TRAINING = (
    *("bitsandbytes", "datasets", "deepspeed", "mmengine", "peft", "pydantic", "tokenizers", "torch"),
    *("torchvision", "transformers", "xtuner", "yaml"),
)
SERVING = ("fastapi", "fastchat", "httpx", "pydantic", "tokenizers", "torch", "transformers", "uvicorn")
PACKAGES = {
    "machine": ("torch",),
    "queries": ("pydantic",),
    "all_reduce": ("pydantic", "torch"),
    "training": TRAINING,
    "serving": SERVING,
}


def main(part: str, folder: str, device: str) -> None:
    """Run a part and write its outcome, whatever it is."""
    outcome = run(part, Work(Path(folder), device))
    Path(folder, f"{part}.json").write_text(json.dumps(outcome, ensure_ascii=False), encoding="utf-8")


def run(part: str, work: Work) -> dict[str, Any]:
    """The outcome of a part."""
    kind, _, variant = part.partition("_") if part != "all_reduce" else (part, "", "")
    if missing := [name for name in PACKAGES[kind] if importlib.util.find_spec(name) is None]:
        return {"status": "package missing", "error": f"not installed: {', '.join(missing)}"}
    try:
        return {"status": "ok", "result": measure_of(kind)(work, variant)}
    except LeftOut as e:
        return {"status": "left out", "error": str(e)}
    except (Exception, SystemExit) as e:
        return {"status": "failed", "error": f"{type(e).__name__}: {e}"[-ERROR:]}


def measure_of(kind: str) -> Callable[[Work, str], dict[str, Any]]:
    """The function that measures a kind of part; its module imports the packages that were looked for."""
    measure: Callable[[Work, str], dict[str, Any]] = importlib.import_module(f"bench.gpu.{kind}").measure
    return measure


if __name__ == "__main__":
    main(*sys.argv[1:])
