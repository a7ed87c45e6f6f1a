"""Settings of the door: the file `door.json`, which only its user can read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

FILE = "door.json"
"""Name of the file in the folder of the model servers."""


@dataclass(frozen=True)
class Limits:
    """What one request, one key and all keys together may use.

    Attributes:
        requests: Requests at the same time, of all keys.
        requests_per_key: Requests at the same time, of one key.
        body_kib: Length of a request's body in KiB.
        seconds: Seconds from a request's headers to the end of its answer.
    """

    requests: int = 512
    requests_per_key: int = 256
    body_kib: int = 1024
    seconds: float = 600


@dataclass(frozen=True)
class Settings:
    """What the door lets in.

    Attributes:
        public_name: Served name whose worker makes the host healthy.
        keys: SHA-256 of each key by the key's name; empty: everybody may ask, unless a key is required.
        internal_key: SHA-256 of the key with which the servers probe their models, without a limit.
        limits: The limits.
        log_prompts: Whether the access log holds prompts.
        requires_key: Whether nobody may ask where there is no key.
    """

    public_name: str = ""
    keys: dict[str, str] = field(default_factory=dict)
    internal_key: str = ""
    limits: Limits = Limits()
    log_prompts: bool = False
    requires_key: bool = False

    def dump(self) -> str:
        """The content of the file."""
        return json.dumps(asdict(self))


def digest(key: str) -> str:
    """SHA-256 of a key: the file holds no key that somebody could use."""
    return hashlib.sha256(key.encode()).hexdigest()


class SettingsFile:
    """The settings as they are now: a change of the file needs no restart.

    Args:
        folder: Folder of the model servers.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._read_at, self._settings = -1, Settings()

    def current(self) -> Settings:
        """The settings; the file is read again when it was written.

        Raises:
            OSError: There is no file.
        """
        written_at = self._path.stat().st_mtime_ns
        if written_at != self._read_at:
            self._settings = _settings(json.loads(self._path.read_text()))
            self._read_at = written_at
        return self._settings


def _settings(content: dict[str, Any]) -> Settings:
    limits = Limits(**_known(Limits, content.get("limits", {})))
    return Settings(**_known(Settings, content) | {"limits": limits})


def _known(model: type, content: dict[str, Any]) -> dict[str, Any]:
    """The fields that this version knows."""
    return {f.name: content[f.name] for f in fields(model) if f.name in content}
