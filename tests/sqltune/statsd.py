"""Airflow's metrics on their way to Prometheus: its StatsD client, and a stand-in for statsd_exporter.

prometheus/statsd_exporter is a Go program, and no package in requirements-dev.txt. The stand-in does what
that one's mapper, exporter and registry do with the rules that include/grafana's mapping uses: `*` is one
part of a name, the first mapping wins, a timer is a summary in seconds, and a name without a mapping is kept
with an underscore for each dot. What a summary forgets, and when, it does not imitate.
"""

from __future__ import annotations

import re
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from airflow.sdk._shared.observability.metrics import stats as backend
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils

QUANTILES = (0.5, 0.9, 0.99)
KINDS = {"c": "counter", "g": "gauge", "ms": "summary"}


@contextmanager
def airflow_sends_to(port: int) -> Iterator[None]:
    """Make Airflow's StatsD client send to a port of this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
        patch.setenv("AIRFLOW__METRICS__STATSD_HOST", "127.0.0.1")
        patch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(port))
        # As Airflow does when a task's process starts.
        stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=True)
        yield
        # Airflow drops its client without closing it.
        backend._get_backend().statsd.close()
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=True)


@dataclass
class Mappings:
    """The mapping file: from a name of StatsD's to one of Prometheus' with labels."""

    file: Path

    def __post_init__(self) -> None:
        mappings = yaml.safe_load(self.file.read_text())["mappings"]
        self._rules = [(_pattern(m["match"]), m["name"], m["labels"]) for m in mappings]

    def find(self, name: str) -> tuple[str, dict[str, str]] | None:
        """The metric and its labels by the first rule that matches; None where none does."""
        for pattern, metric, labels in self._rules:
            if match := pattern.fullmatch(name):
                return _filled(metric, match), {k: _filled(v, match) for k, v in labels.items()}
        return None


def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(re.escape(glob).replace(r"\*", r"([^.]+)"))


def _filled(template: str, match: re.Match[str]) -> str:
    return re.sub(r"\$(\d)", lambda group: match[int(group[1])], template)


@dataclass
class Exporter:
    """What was received, by metric and labels."""

    mappings: Mappings
    udp: int = 0
    http: int = 0
    kinds: dict[str, str] = field(default_factory=dict)
    values: defaultdict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    conflicts: list[str] = field(default_factory=list)
    """Names that came with two types; the program drops the second."""

    def receive(self, line: str) -> None:
        """Take a line of StatsD's, such as `airflow.ti.start:1|c`."""
        name, _, rest = line.partition(":")
        text, kind = rest.split("|")[:2]
        metric, labels = self.mappings.find(name) or (re.sub(r"\W", "_", name), {})
        if self.kinds.setdefault(metric, KINDS[kind]) != KINDS[kind]:
            self.conflicts.append(metric)
            return
        values = self.values[metric, ",".join(f'{k}="{v}"' for k, v in sorted(labels.items()))]
        if kind == "ms":
            values.append(float(text) / 1000)
        else:
            values[:] = [float(text) + (values[0] if values and kind == "c" else 0)]

    def exposition(self) -> str:
        """What Prometheus scrapes."""
        lines = []
        for metric, kind in self.kinds.items():
            lines.append(f"# TYPE {metric} {kind}")
            for (_, labels), values in [item for item in self.values.items() if item[0][0] == metric]:
                lines += (
                    _summary(metric, labels, values)
                    if kind == "summary"
                    else [f"{metric}{{{labels}}} {values[0]}"]
                )
        return "\n".join([*lines, ""])


def _summary(metric: str, labels: str, values: list[float]) -> list[str]:
    ordered = sorted(values)
    own = f"{labels}," if labels else ""
    quantiles = [
        f'{metric}{{{own}quantile="{q}"}} {ordered[min(int(q * len(ordered)), len(ordered) - 1)]}'
        for q in QUANTILES
    ]
    return [
        *quantiles,
        f"{metric}_sum{{{labels}}} {sum(values)}",
        f"{metric}_count{{{labels}}} {len(values)}",
    ]


@contextmanager
def running_exporter(mapping: Path) -> Iterator[Exporter]:
    """Run the stand-in with a mapping file."""
    exporter = Exporter(Mappings(mapping))

    class Scrape(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(exporter.exposition().encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as received,
        ThreadingHTTPServer(("127.0.0.1", 0), Scrape) as server,
    ):
        received.bind(("127.0.0.1", 0))
        exporter.udp, exporter.http = received.getsockname()[1], server.server_address[1]

        def listen() -> None:
            while datagram := received.recv(65536).decode():
                for line in datagram.splitlines():
                    exporter.receive(line)

        threads = [threading.Thread(target=t, daemon=True) for t in (listen, server.serve_forever)]
        for thread in threads:
            thread.start()
        yield exporter
        # An empty datagram ends the listener.
        received.sendto(b"", received.getsockname())
        server.shutdown()
        for thread in threads:
            thread.join(10)
