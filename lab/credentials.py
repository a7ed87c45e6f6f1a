"""Secrets of this lab, and the password of Airflow's user."""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path

from lab.settings import LAB

USER = "admin"
"""Airflow's user."""
FOLDER = LAB / "secrets"
PASSWORDS = FOLDER / "passwords.json"
"""Airflow's file of users and passwords."""


def _write(path: Path, text: str) -> None:
    """Write a file that only this user can read."""
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)


def _kept(name: str, text: str) -> str:
    """Read a secret; `text` becomes the secret if none exists yet."""
    path = FOLDER / name
    if not path.exists():
        _write(path, text)
    return path.read_text()


def token(name: str) -> str:
    """A random token of this lab, made once."""
    return _kept(name, secrets.token_urlsafe(64))


def fernet_key() -> str:
    """The key with which Airflow encrypts Connections, made once."""
    return _kept("fernet", base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())


def password() -> str:
    """The password of Airflow's user, made once."""
    if not PASSWORDS.exists():
        _write(PASSWORDS, json.dumps({USER: secrets.token_urlsafe(18)}))
    return str(json.loads(PASSWORDS.read_text())[USER])
