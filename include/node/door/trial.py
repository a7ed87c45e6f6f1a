"""Shadow and canary: a candidate answers copies of requests, or a share of them, beside the champion.

A copy is sent once the champion has answered, and no client waits for it. In a canary the champion answers
whatever the candidate fails to answer, as long as nothing was sent to the client; such a request has waited
for the candidate first, `answer_within` at most.
"""

from __future__ import annotations

import asyncio
import json
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from door.access import INTERNAL
from door.errors import GONE, UNREACHABLE, Refusal
from door.exchange import Exchange
from door.metrics import Metrics
from door.record import Record, texts_of
from door.relay import relay
from door.tally import Tally
from door.trial_files import CANARY, Arm, Counts, Trial
from door.upstream import Upstream

OPT_OUT = ("X-Model-Version", "X-Model-Worker")
"""Headers of a request that takes no part: its client, such as Airflow's evaluation, compares them with the
answer's, and takes no other model's. The door does not choose by them."""
COPIES = 8
"""Copies on their way at the same time; others are dropped."""
PATIENCE = 1.0
"""Seconds that a canary's request waits for a candidate that is not there."""
LONG, LONG_AT_LEAST = 3.0, 1.0
"""A client that leaves before the candidate's answer begins is the candidate's failure after so many times
the champion's median latency, and so many seconds at least."""


class Trials:
    """Answers completions, and tries a candidate where the host has a trial.

    Args:
        folder: Folder of the model servers.
        upstream: The servers behind the door.
        metrics: Counts what the models did.
        log: Takes the lines of the access log.
    """

    def __init__(
        self, folder: Path, upstream: Upstream, metrics: Metrics, log: Callable[[str], None]
    ) -> None:
        self._tally = Tally(folder, metrics)
        self._upstream, self._log = upstream, log
        self._copies: set[asyncio.Task[None]] = set()

    async def answer(self, exchange: Exchange, body: dict[str, Any]) -> None:
        """Answer a request for a completion.

        Args:
            exchange: The request.
            body: Its body.

        Raises:
            Refusal: There is an error in place of an answer.
        """
        trial = self._trial_of(exchange)
        # Taken here and passed on: the trial may be another one by the time of the answer.
        counts = self._tally.counts
        if trial is None:
            await self._pass_on(exchange, body)
        elif trial.mode == CANARY:
            await self._canary(trial, counts, exchange, body)
        else:
            await self._shadow(trial, counts, exchange, body)

    def ended(self, record: Record) -> None:
        """Count a request that has ended; one at fault itself, or whose client has gone, is not counted."""
        if record.arm is not None and (record.status == 200 or record.status >= 500):
            self._tally.add(
                record.arm, record.version, record.answer_seconds if record.status == 200 else None
            )

    async def close(self) -> None:
        """Give up what is on its way, and keep the counts."""
        for copy in self._copies:
            copy.cancel()
        await asyncio.gather(*self._copies, return_exceptions=True)
        self._tally.close()

    def _trial_of(self, exchange: Exchange) -> Trial | None:
        """The trial that a request takes part in; None where it takes part in none."""
        trial, record = self._tally.current(), exchange.record
        if trial is None or record.model != trial.name or record.key == INTERNAL:
            return None
        if any(name in exchange.request.headers for name in OPT_OUT):
            return None
        return trial

    async def _pass_on(self, exchange: Exchange, body: dict[str, Any]) -> None:
        """Let the worker answer that the request's name stands for."""
        with _timed(exchange.record):
            async with self._upstream.answer(exchange.record.path, body, exchange.record) as response:
                await relay(response, exchange)

    async def _canary(self, trial: Trial, counts: Counts, exchange: Exchange, body: dict[str, Any]) -> None:
        if not trial.chooses(exchange.record.id):
            exchange.record.arm = counts.champion
        elif not self._tally.is_paused:
            if failure := await self._candidate_failure(trial, counts, exchange, body):
                await self._fall_back(failure, trial, counts, exchange, body)
            return
        await self._pass_on(exchange, body)

    async def _candidate_failure(
        self, trial: Trial, counts: Counts, exchange: Exchange, body: dict[str, Any]
    ) -> Refusal | None:
        """Let the candidate answer; what it said instead, with nothing sent to the client, or None.

        Raises:
            Refusal: The answer broke off after it had begun.
        """
        record = exchange.record
        record.arm, record.trial = counts.candidate, CANARY
        try:
            with _timed(record):
                async with asyncio.timeout(trial.answer_within) as limit:
                    exchange.on_start = lambda: limit.reschedule(None)
                    async with self._upstream.answer(
                        record.path, body, record, name=trial.candidate, patience=PATIENCE
                    ) as response:
                        await relay(response, exchange)
            return None
        except asyncio.CancelledError:
            if not exchange.started and _is_long(record.answer_seconds, counts.champion):
                record.arm = None
                self._tally.add(counts.candidate, record.version, None)
            raise
        except TimeoutError:
            failure = Refusal(504, "the candidate did not begin to answer", "timeout")
        except Refusal as e:
            failure = e
        except Exception:
            # Whatever it has answered, such as events that are no JSON.
            traceback.print_exc()
            failure = Refusal(502, "the candidate's answer cannot be passed on", "upstream_error")
        finally:
            exchange.on_start = None
        if exchange.started:
            raise failure
        return failure

    async def _fall_back(
        self, failure: Refusal, trial: Trial, counts: Counts, exchange: Exchange, body: dict[str, Any]
    ) -> None:
        """Let the champion answer; where it refuses too, the request is at fault, or what both depend on."""
        version = exchange.record.version
        is_candidates = await self._is_candidates(failure, trial)
        exchange.record.back_to_champion()
        # Should the client leave now: of a refusal nobody knows whose fault it is.
        has_failed = failure.status >= 500
        try:
            await self._pass_on(exchange, body)
            has_failed = True
        except Refusal:
            has_failed = False
            raise
        finally:
            if has_failed and is_candidates:
                self._tally.add(counts.candidate, version, None)

    async def _is_candidates(self, failure: Refusal, trial: Trial) -> bool:
        """Whether a failure is the candidate's: not where it was just stopped, or FastChat is restarted."""
        if failure.code == UNREACHABLE:
            return bool(await self._upstream.health_problem(trial.candidate))
        return failure.code != GONE

    async def _shadow(self, trial: Trial, counts: Counts, exchange: Exchange, body: dict[str, Any]) -> None:
        record = exchange.record
        if self._tally.is_paused or not trial.chooses(record.id):
            await self._pass_on(exchange, body)
            return
        record.arm, record.texts = counts.champion, {}
        await self._pass_on(exchange, body)
        if not self._sends_copy(trial, counts, record, body):
            record.arm = None

    def _sends_copy(self, trial: Trial, counts: Counts, record: Record, body: dict[str, Any]) -> bool:
        """Whether a copy of a request that the champion has answered is sent, for nobody to wait for."""
        if self._tally.is_paused:
            return False
        if len(self._copies) >= COPIES:
            self._tally.drop(counts)
            return False
        record.trial = trial.mode
        copy = asyncio.create_task(self._copied(trial, counts, record, body))
        self._copies.add(copy)
        copy.add_done_callback(self._copies.discard)
        return True

    async def _copied(self, trial: Trial, counts: Counts, record: Record, body: dict[str, Any]) -> None:
        """Send a copy, compare and count its answer, and write a line of it."""
        copy = Record(
            record.id,
            record.path,
            record.client,
            record.key,
            record.model,
            prompt=record.prompt,
            trial="copy",
            texts={},
        )
        is_candidates = True
        try:
            with _timed(copy):
                async with asyncio.timeout(trial.answer_within):
                    await self._ask_candidate(trial, copy, body)
            copy.status = 200
        except Refusal as e:
            copy.status, is_candidates = e.status, await self._is_candidates(e, trial)
        except TimeoutError:
            copy.status = 504
        except Exception:
            traceback.print_exc()
            copy.status = 500
        if is_candidates:
            # The champion has answered this request, so that a refusal is a failure too.
            seconds = copy.answer_seconds if copy.status == 200 else None
            self._tally.add(counts.candidate, copy.version, seconds)
        if copy.status == 200 and body.get("temperature") == 0:
            self._tally.compare(counts, is_same=texts_of(record) == texts_of(copy))
        self._log(copy.line(with_prompt=False))

    async def _ask_candidate(self, trial: Trial, copy: Record, body: dict[str, Any]) -> None:
        unstreamed = {name: value for name, value in body.items() if name not in ("stream", "stream_options")}
        patience = trial.answer_within / 2
        async with self._upstream.answer(
            copy.path, unstreamed, copy, name=trial.candidate, patience=patience
        ) as response:
            content = await response.aread()
        try:
            copy.take(json.loads(content))
        except ValueError as e:
            raise Refusal(502, "the candidate answered no JSON", "upstream_error") from e


def _is_long(seconds: float, champion: Arm) -> bool:
    """Whether a client that has left waited clearly longer than the champion's answers take."""
    return champion.median is not None and seconds > max(LONG_AT_LEAST, LONG * champion.median)


@contextmanager
def _timed(record: Record) -> Iterator[None]:
    """Measure how long a model takes for its answer."""
    began = time.monotonic()
    try:
        yield
    finally:
        record.answer_seconds = time.monotonic() - began
