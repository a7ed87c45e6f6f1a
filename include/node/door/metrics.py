"""The door's metrics, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from door.record import Record

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
"""Bounds of the latencies' buckets."""


class Metrics:
    """Counts requests and tokens; a model's name is one that is served, so that no client can add series."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        names = ("model", "version", "key")
        self._requests = Counter(
            "sqltune_door_requests", "Requests that ended.", (*names, "status"), registry=registry
        )
        self._seconds = Histogram(
            "sqltune_door_request_seconds",
            "From a request's headers to the end of its answer.",
            names[:2],
            buckets=_SECONDS,
            registry=registry,
        )
        self._tokens = Counter(
            "sqltune_door_tokens", "Tokens of answers that say how many.", (*names, "kind"), registry=registry
        )
        self._in_flight = Gauge(
            "sqltune_door_requests_in_flight", "Requests that are answered now.", ("key",), registry=registry
        )

    @contextmanager
    def in_flight(self, key: str) -> Iterator[None]:
        """Count a request while it is answered."""
        with self._in_flight.labels(key).track_inprogress():
            yield

    def ended(self, record: Record) -> None:
        """Count a request that has ended."""
        names = (record.model if record.target else "", record.version, record.key)
        self._requests.labels(*names, str(record.status)).inc()
        self._seconds.labels(*names[:2]).observe(record.seconds)
        for kind, count in record.usage.items():
            self._tokens.labels(*names, kind.removesuffix("_tokens")).inc(count)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
