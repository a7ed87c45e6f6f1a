"""What a host is and has, and what is wrong with it for this plan. Standard library only: it runs where nothing is installed yet.

    python preflight.py '{"base_model": "~/models/base", "accelerator": "cpu", …}'

The last line it prints is `RESULT {"facts": …, "problems": [each with its fix]}`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "deepspeed",
    "xtuner",
    "mmengine",
    "bitsandbytes",
    "datasets",
    "huggingface_hub",
    "fschat",
)
GIB = 1024**3
MARK = ".sqltune-records"


def address_of(interface: str) -> str | None:
    """The IPv4 address of a network interface, or None."""
    import fcntl
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            packed = fcntl.ioctl(
                s.fileno(), 0x8915, struct.pack("256s", interface.encode()[:15])
            )  # SIOCGIFADDR
        except OSError:
            return None
    return socket.inet_ntoa(packed[20:24])


def free_memory() -> float:
    """Memory that can be had without swapping, in GiB."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024 / GIB
    return 0.0


def gpus(accelerator: str) -> tuple[list[str], str | None]:
    """The GPUs that nvidia-smi or rocm-smi lists, and what is wrong."""
    command = {
        "cuda": ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"],
        "rocm": ["rocm-smi", "--showproductname", "--csv"],
    }[accelerator]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except FileNotFoundError:
        return [], f"{command[0]} is not there: install the driver, or set accelerator in the cluster file"
    except subprocess.TimeoutExpired:
        return (
            [],
            f"{command[0]} did not answer in 30 s: the driver hangs; reset the GPUs or restart the host",
        )
    if answer.returncode:
        return [], f"{command[0]} failed: {(answer.stderr or answer.stdout).strip()[-300:]}"
    lines = [line.strip() for line in answer.stdout.splitlines() if line.strip()]
    return (lines if accelerator == "cuda" else [line for line in lines if line.startswith("card")]), None


def folder_hash(folder: Path) -> str:
    """Names a model by its files: sizes of all, contents of the small ones and both ends of the large ones."""
    hasher = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        size = file.stat().st_size
        hasher.update(f"{file.relative_to(folder)}\0{size}\0".encode())
        with file.open("rb") as f:
            hasher.update(f.read(1 << 20))
            if size > 1 << 21:
                f.seek(-(1 << 20), os.SEEK_END)
                hasher.update(f.read())
    return hasher.hexdigest()[:16]


def versions() -> dict[str, str | None]:
    """Versions of the packages that training and serving use."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def listener(port: int) -> str | None:
    """Who listens on a TCP port of this host, in words; None where nobody does, or a gang of ours does: those wait for one another."""
    wanted = f":{port:04X}"
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:] if Path(table).exists() else []:
            fields = line.split()
            if fields[3] == "0A" and fields[1].endswith(wanted):
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if inodes.isdisjoint(os.readlink(fd) for fd in (process / "fd").iterdir()):
                continue
            if b"SQLTUNE_GANG=" in (process / "environ").read_bytes():
                return None
            return f"{(process / 'comm').read_text().strip()}, pid {process.name}"
        except OSError:
            continue
    return "another user's process"


def strangers(accelerator: str) -> list[str]:
    """Processes on the GPUs that are neither a gang's nor a served model's of ours: told, never ended."""
    command = {
        "cuda": ["nvidia-smi", "--query-compute-apps=pid,process_name,used_memory", "--format=csv,noheader"],
        "rocm": ["rocm-smi", "--showpids"],
    }[accelerator]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30).stdout
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return []
    found = []
    for line in answer.splitlines():
        words = line.replace(",", " ").split()
        # rocm-smi lists who once opened /dev/kfd and holds nothing.
        if not words or not words[0].isdigit() or (accelerator == "rocm" and words[3:4] == ["0"]):
            continue
        try:
            environ = Path(f"/proc/{words[0]}/environ").read_bytes()
            ours = b"SQLTUNE_GANG=" in environ or b"SQLTUNE_SERVING=" in environ
        except OSError:
            ours = False
        if not ours:
            found.append(" ".join(words))
    return found


def owner(work: Path, ours: str) -> str:
    """Whose records describe what lies in the work folder; ours from now on where nobody's do yet."""
    mark = work / MARK
    if not mark.exists():
        mine = work / f"{MARK}.{os.getpid()}.{socket.gethostname()}"
        mine.write_text(ours)
        # Of two that mark it at the same time, the first stays.
        with contextlib.suppress(FileExistsError):
            os.link(mine, mark)
        mine.unlink()
    return mark.read_text()


def check(want: dict) -> dict:
    """Facts and problems for what a plan wants of this host."""
    problems: list[str] = []
    work = Path(want["work_dir"]).expanduser()
    work.mkdir(parents=True, exist_ok=True)
    facts: dict = {
        "hostname": socket.gethostname(),
        "python": sys.version.split()[0],
        "versions": versions(),
        "cpus": os.cpu_count(),
        "free_disk_gb": round(shutil.disk_usage(work).free / GIB, 1),
        "free_memory_gb": round(free_memory(), 1),
        "clock": time.time(),
        "address": address_of(want["interface"]),
        "gpus": [],
        "proxy": {
            k: v for k, v in os.environ.items() if k.lower() in ("http_proxy", "https_proxy", "no_proxy")
        },
    }
    whose = owner(work, want["installation"])
    if whose != want["installation"]:
        problems.append(
            f"{work} is another Airflow's (its records are {whose}, ours {want['installation']}), which would remove our models and we its: set work_dir in the cluster file to a folder of our own; if those records are gone for good, remove {work / MARK}"
        )
    missing = [name for name, version in facts["versions"].items() if version is None]
    if missing:
        problems.append(
            f"{', '.join(missing)} not installed in {sys.prefix}: run include/node/bootstrap.sh on the host"
        )
    if facts["free_disk_gb"] < want["min_free_disk_gb"]:
        problems.append(
            f"{facts['free_disk_gb']} GiB are free under {work}, {want['min_free_disk_gb']} wanted: delete old runs there, or lower min_free_disk_gb"
        )
    if facts["free_memory_gb"] < want["min_free_memory_gb"]:
        problems.append(
            f"{facts['free_memory_gb']} GiB of memory are free, {want['min_free_memory_gb']} wanted: end what runs there, or lower min_free_memory_gb"
        )
    if facts["address"] is None:
        names = ", ".join(sorted(name for _, name in socket.if_nameindex()))
        problems.append(
            f"there is no interface {want['interface']!r} with an IPv4 address (there are: {names}): set interface in the cluster file"
        )
    who = listener(want["master_port"]) if want["is_master"] else None
    if who:
        problems.append(
            f"port {want['master_port']} is taken ({who}): end what listens there, or set master_port in the cluster file"
        )
    if want["accelerator"] != "cpu":
        facts["gpus"], trouble = gpus(want["accelerator"])
        if trouble:
            problems.append(trouble)
        others = strangers(want["accelerator"])
        if others:
            problems.append(
                f"somebody else is on its GPUs ({'; '.join(others)}): not ours, so not touched; wait for it, or end it"
            )
        if not trouble and len(facts["gpus"]) < want["processes"]:
            problems.append(
                f"{len(facts['gpus'])} GPUs, {want['processes']} wanted: correct processes in the cluster file, or look at dmesg for a card that dropped out"
            )
    model = Path(want["base_model"]).expanduser()
    if (model / "config.json").is_file():
        facts["base_model_hash"] = folder_hash(model)
    else:
        problems.append(
            f"the base model is not there: {model} has no config.json; copy it there, or correct base_model in the form or the recipe"
        )
    return {"facts": facts, "problems": problems}


if __name__ == "__main__":
    print("RESULT " + json.dumps(check(json.loads(sys.argv[1]))))
