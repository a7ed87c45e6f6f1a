"""Memory, addresses and package versions of this host."""

from __future__ import annotations

import fcntl
import socket
import struct
from importlib import metadata
from pathlib import Path

GIB = 1024**3
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
    "prometheus_client",
)
"""Packages that training and serving use."""
SIOCGIFADDR = 0x8915
"""The ioctl that returns an interface's IPv4 address (linux/sockios.h)."""


def address_of(interface: str) -> str | None:
    """The IPv4 address of a network interface, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            packed = fcntl.ioctl(s.fileno(), SIOCGIFADDR, struct.pack("256s", interface.encode()[:15]))
        except OSError:
            return None
    return socket.inet_ntoa(packed[20:24])


def interfaces() -> str:
    """Names of this host's network interfaces, for a message."""
    return ", ".join(sorted(name for _, name in socket.if_nameindex()))


def free_memory() -> float:
    """Memory that is available without swapping, in GiB."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024 / GIB
    return 0.0


def versions() -> dict[str, str | None]:
    """Installed versions of `PACKAGES`; None for a package that is missing."""
    return {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
