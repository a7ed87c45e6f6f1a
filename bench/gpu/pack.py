"""Fill a folder with the wheels that the node environment needs beyond PyTorch, for another machine's Python.

They are those of include/node/requirements.txt and all that these need, for Linux on x86-64 with glibc 2.28
or newer. PyTorch, and with it CUDA or ROCm, is the other machine's own and is left out.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NODE = Path(__file__).resolve().parents[2] / "include/node"
PYTHONS = ("3.10", "3.11", "3.12")
PLATFORM = "x86_64-manylinux_2_28"
# pip takes only the tags that it is given.
TAGS = (*(f"manylinux_2_{minor}" for minor in range(5, 29)), "manylinux2014", "manylinux2010", "manylinux1")
SOURCES = ("deepspeed", "transformers-stream-generator", "wavedrom")
"""Published without wheels; they are pure Python, so that one that is built here fits any machine."""


def pack(folder: Path, python: str, without: list[str]) -> int:
    """Resolve, download and build; 0 when the folder holds all wheels.

    Args:
        folder: Where the wheels go; it is made.
        python: Version of the other machine's Python, one of `PYTHONS`.
        without: Packages that it has already.
    """
    with tempfile.TemporaryDirectory() as work:
        pinned = resolve(Path(work), python, without).read_text().splitlines()
        sources = [line for line in pinned if line.partition("==")[0] in SOURCES]
        wheels = Path(work, "wheels.txt")
        wheels.write_text("\n".join(line for line in pinned if line not in sources))
        pip("download", "--only-binary=:all:", *target(python), "-d", str(folder), "-r", str(wheels))
        if sources:
            pip("wheel", "-w", str(folder), *sources)
    print(f"{len(list(folder.glob('*.whl')))} wheels are in {folder}")
    return 0


def resolve(work: Path, python: str, without: list[str]) -> Path:
    """A file with the exact version of each package for a Python."""
    requirements, overrides, pinned = (work / name for name in ("in.txt", "overrides.txt", "pinned.txt"))
    requirements.write_text(required(python))
    overrides.write_text((NODE / "overrides.txt").read_text() + '\ntorch ; sys_platform == "never"\n')
    left_out = [option for name in without for option in ("--no-emit-package", name)]
    run(
        *(uv(), "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-emit-index-url"),
        *("--python-version", python, "--python-platform", PLATFORM, "--overrides", str(overrides)),
        *(*left_out, "-o", str(pinned), str(requirements)),
    )
    return pinned


def required(python: str) -> str:
    """The node environment's requirements without PyTorch."""
    lines = (NODE / "requirements.txt").read_text().splitlines()
    kept = "\n".join(line for line in lines if not line.startswith("torch=="))
    # Some of the pinned versions are for 3.11 and newer: then the newest of those before them.
    return kept.replace("==", "<=") if python == "3.10" else kept


def target(python: str) -> list[str]:
    """pip's options for another machine."""
    platforms = [option for tag in TAGS for option in ("--platform", f"{tag}_x86_64")]
    return ["--python-version", python, "--implementation", "cp", *platforms]


def pip(command: str, *arguments: str) -> None:
    options = ("--quiet", "--disable-pip-version-check", "--no-deps")
    run(sys.executable, "-m", "pip", command, *options, *arguments)


def uv() -> str:
    """The program uv, beside this Python or on PATH."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise SystemExit(
            f"uv is neither beside {sys.executable} nor on PATH: pip install uv, or make setup-dev"
        )
    return found


def run(*command: str) -> None:
    """Run a program, whose errors are shown as it prints them.

    Raises:
        SystemExit: It failed.
    """
    if code := subprocess.run(command, check=False).returncode:
        raise SystemExit(f"{' '.join(command[:4])} … ended with {code}: its error is above")
