"""Secrets of this lab and the password of Airflow's user."""

from __future__ import annotations

import json
import secrets

from lab.settings import LAB

USER = "admin"


def secret(name: str) -> str:
    """A secret of this lab, made once."""
    path = LAB / "secrets" / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        import base64

        path.touch(mode=0o600)
        path.write_text(
            base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
            if name == "fernet"
            else secrets.token_urlsafe(64 if name == "jwt" else 18)
        )
    return path.read_text()


def password() -> str:
    """The password of Airflow's user."""
    return json.loads((LAB / "secrets" / "passwords.json").read_text())[USER]
