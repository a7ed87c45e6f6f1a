"""Addresses that the page links to."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit


def public_address(address: str) -> str | None:
    """An address as a link: only http and https, without the name and password of a user."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def airflow_address() -> str | None:
    """Return the address of the Airflow whose settings this process has: `[api] base_url`, if set."""
    # Here, as it takes a second: an export and its tests need nothing else of Airflow.
    from airflow.configuration import conf

    return public_address(conf.get("api", "base_url", fallback=None) or "")
