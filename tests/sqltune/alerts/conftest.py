"""The services that alerts are sent to, and the Connection that names them."""

from __future__ import annotations

import json
import logging
import socket
import ssl
from collections.abc import Iterator

import pytest
import trustme
from apprise.plugins.base import NotifyBase

from tests.sqltune.alerts.services import HOSTS, Services, http_server, resolved_here


@pytest.fixture
def services(tmp_path, monkeypatch) -> Iterator[Services]:
    """The chat services, at their own names."""
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*HOSTS).configure_cert(tls)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    # Apprise waits 5.5 s after a request to most services.
    monkeypatch.setattr(NotifyBase, "request_rate_per_sec", 0)
    started = Services()
    with http_server(started, tls) as port:
        monkeypatch.setattr(socket, "getaddrinfo", resolved_here(port))
        yield started


@pytest.fixture
def webhook() -> Iterator[Services]:
    """A plain webhook on HTTP; its port is `port`."""
    started = Services()
    with http_server(started) as port:
        started.port = port
        yield started


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What reaches the log; pytest's own `caplog` also captures what a logger keeps to itself."""
    lines: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler, root = Collector(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def told(monkeypatch):
    """Set the Connection `sqltune_alerts`, as a deployment's environment does."""

    def tell(*entries: str | dict[str, object]) -> None:
        config = [{"path": e} if isinstance(e, str) else e for e in entries]
        value = {"conn_type": "apprise", "extra": {"config": config}}
        monkeypatch.setenv("AIRFLOW_CONN_SQLTUNE_ALERTS", json.dumps(value))

    return tell
