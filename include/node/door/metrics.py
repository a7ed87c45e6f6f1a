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

        self._tried = Counter(
            "sqltune_door_trial_requests",
            "Requests of a trial, by the model and what became of them.",
            ("role", "version", "outcome"),
            registry=registry,
        )
        self._tried_seconds = Histogram(
            "sqltune_door_trial_request_seconds",
            "Time that a model of a trial took for an answer.",
            ("role", "version"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._compared = Counter(
            "sqltune_door_trial_compared",
            "Greedy answers of a shadow, by whether both models gave the same text.",
            ("same",),
            registry=registry,
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

    def tried(self, role: str, version: str, outcome: str, seconds: float = 0) -> None:
        """Count a request of a trial.

        Args:
            role: champion or candidate.
            version: The model's version; empty: not registered.
            outcome: answered, failed or dropped.
            seconds: Time that the answer took.
        """
        self._tried.labels(role, version, outcome).inc()
        if outcome == "answered":
            self._tried_seconds.labels(role, version).observe(seconds)

    def compared(self, is_same: bool) -> None:
        """Count a pair of greedy answers."""
        self._compared.labels("yes" if is_same else "no").inc()

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
