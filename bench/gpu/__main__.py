"""What this project does on a GPU, measured on one machine; writes one JSON file, prints a Markdown table.

    python -m bench.gpu [--out FILE] [--limit SECONDS] [--cpu] [PART ...]
    python -m bench.gpu --pack FOLDER [--python 3.12] [--without PACKAGE ...]
    python -m bench.gpu --table FILE
    python -m bench.gpu --fixtures FILE

The machine needs a Python of 3.10 to 3.12 with a PyTorch that sees its cards, and neither a network nor
Airflow. What it lacks beyond PyTorch travels with the repository: `--pack`, on a machine with a package
index, fills a folder with wheels. On the machine with the cards:

    python -m pip install --no-index --no-deps --target build/site build/wheels/*.whl
    PYTHONPATH=build/site python -m bench.gpu --out build/gpu.json

Each part runs in a process of its own, and has a time limit. One that fails is recorded as failed, with its
error, and the others go on; the file is written anew after each. `--cpu` runs, at a tiny size, what runs
without a card. `--fixtures` puts what nvidia-smi or rocm-smi printed under tests/.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The packages of this project that the parts import; PyTorch and all else is imported by the parts alone.
sys.path[:0] = [str(ROOT), str(ROOT / "plugins"), str(ROOT / "include" / "node")]

from bench.gpu import fixtures, pack, parts, report  # noqa: E402

LIMIT = 600.0


def main() -> int:
    """Do what the command line asks for; 1 if there is no card, or a part failed."""
    parser = options()
    chosen = parser.parse_args()
    if unknown := set(chosen.parts) - set(parts.PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}: choose from {', '.join(parts.PARTS)}")
    if chosen.pack:
        return pack.pack(chosen.pack, chosen.python, chosen.without)
    if chosen.table:
        print(report.table(read(chosen.table)))
        return 0
    if chosen.fixtures:
        print(*fixtures.write(read(chosen.fixtures)), sep="\n")
        return 0
    return measure(chosen)


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts.PARTS)}; or all")
    parser.add_argument(
        "--out", type=Path, default=Path("build/gpu.json"), help="the result's file; build/gpu.json"
    )
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds that each part may take; 600")
    parser.add_argument("--cpu", action="store_true", help="run on the CPU what can, at a tiny size")
    parser.add_argument("--pack", type=Path, metavar="FOLDER", help="fill a folder with wheels, and end")
    parser.add_argument("--python", choices=pack.PYTHONS, default="3.12", help="Python of the wheels; 3.12")
    parser.add_argument("--without", nargs="+", default=[], metavar="PACKAGE", help="wheels to leave out")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print a result's table, and end")
    parser.add_argument("--fixtures", type=Path, metavar="FILE", help="write the tests' fixtures, and end")
    return parser


def read(file: Path) -> report.Result:
    """A result that a run has written.

    Raises:
        SystemExit: There is none in the file.
    """
    try:
        result: report.Result = json.loads(file.read_text(encoding="utf-8"))
        result["parts"]["machine"]
    except (OSError, ValueError, KeyError, TypeError) as e:
        reason = f"{type(e).__name__}: {e}"
        raise SystemExit(
            f"{file} ({reason}): expected a result of `python -m bench.gpu --out {file}`"
        ) from None
    return result


def measure(chosen: argparse.Namespace) -> int:
    """Run the parts, and write the result after each."""
    # So that what a part has started is ended also where a time limit ends this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    device = "cpu" if chosen.cpu else "cuda"
    result: report.Result = {"device": device, "parts": {}}
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-gpu-") as folder:
        for part in ["machine", *(p for p in chosen.parts or parts.PARTS if p != "machine")]:
            outcome = parts.run(part, Path(folder), device, chosen.limit)
            result["parts"][part] = outcome
            if part == "machine" and device == "cuda" and not (outcome.get("result") or {}).get("cards"):
                print(no_card(outcome), file=sys.stderr)
                return 1
            print(f"{part}: {outcome['status']}, {outcome['seconds']:.0f} s", file=sys.stderr, flush=True)
            chosen.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(report.table(result))
    return 1 if any(o["status"] in parts.FAILURES for o in result["parts"].values()) else 0


def no_card(outcome: parts.Outcome) -> str:
    """One line: what was found in place of a card, what was expected, and what to do."""
    found = outcome.get("error") or f"torch {outcome['result']['torch']} finds no card"
    return (
        f"no GPU: {found.splitlines()[-1]}; expected a card that torch.cuda sees (CUDA or ROCm): install the "
        "driver and a build of PyTorch for it, or measure with --cpu what runs without a card"
    )


if __name__ == "__main__":
    sys.exit(main())
