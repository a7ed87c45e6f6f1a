"""Shadow and canary: a candidate answers copies of requests, or a share of them, beside the champion.

A client is never worse off for it. A copy is sent once the champion has answered, and waits for nobody; a
request that the candidate fails to answer before the first byte is answered by the champion.
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
from door.trial_files import CANARY, FILE, Arm, Counts, Trial, read_counts, read_trial
from door.upstream import Upstream

OPT_OUT = ("X-Model-Version", "X-Model-Worker")
"""Headers of a request that takes no part: it names who is to answer."""
COPIES = 8
"""Copies on their way at the same time; others are dropped."""
PATIENCE = 1.0
"""Seconds that a canary's request waits for a candidate that is not there."""
FAILURES, PAUSE = 10, 30.0
"""Failures in a row after which the candidate is left alone, and for how many seconds."""
SAVE_AFTER = 0.5
"""Seconds after which a count is in its file."""


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
        self._folder, self._upstream, self._metrics, self._log = folder, upstream, metrics, log
        self._read_at = (-1, -1)
        self._trial: Trial | None = None
        self._counts = Counts(0)
        self._copies: set[asyncio.Task[None]] = set()
        self._saving: asyncio.TimerHandle | None = None
        self._failures, self._paused_until = 0, 0.0

    async def answer(self, exchange: Exchange, body: dict[str, Any]) -> None:
        """Answer a request for a completion.

        Args:
            exchange: The request.
            body: Its body.

        Raises:
            Refusal: There is an error in place of an answer.
        """
        record = exchange.record
        trial = self._trial_of(exchange)
        if trial is None:
            await self._pass_on(exchange, body)
            return
        chosen = trial.chooses(record.id)
        if trial.mode == CANARY:
            if not chosen:
                record.arm = self._counts.champion
            elif not self._is_paused and await self._candidate_answers(trial, exchange, body):
                return
            await self._pass_on(exchange, body)
            return
        if not chosen:
            await self._pass_on(exchange, body)
            return
        record.arm, record.texts = self._counts.champion, {}
        await self._pass_on(exchange, body)
        self._send_copy(trial, record, body)

    def ended(self, record: Record) -> None:
        """Count a request of a trial that has ended."""
        if record.arm is not None:
            self._count(record.arm, record)

    async def close(self) -> None:
        """Give up what is on its way, and keep the counts."""
        for copy in self._copies:
            copy.cancel()
        await asyncio.gather(*self._copies, return_exceptions=True)
        if self._saving:
            self._saving.cancel()
            self._save()

    def _trial_of(self, exchange: Exchange) -> Trial | None:
        """The trial that a request takes part in; None where it takes part in none."""
        trial, record = self._current(), exchange.record
        if trial is None or record.model != trial.name or record.key == INTERNAL:
            return None
        if any(name in exchange.request.headers for name in OPT_OUT):
            return None
        return trial

    def _current(self) -> Trial | None:
        """The trial of this moment; the file is read again when it was written."""
        try:
            stat = (self._folder / FILE).stat()
        except OSError:
            return None
        if (stat.st_mtime_ns, stat.st_ino) != self._read_at:
            self._read_at = stat.st_mtime_ns, stat.st_ino
            self._begin()
        return self._trial if self._trial and self._trial.seconds_left else None

    def _begin(self) -> None:
        try:
            self._trial = read_trial(self._folder)
        except (OSError, ValueError, TypeError):
            traceback.print_exc()
            self._trial = None
        if self._trial and self._trial.began != self._counts.began:
            self._counts = read_counts(self._folder, self._trial) or Counts(self._trial.began)
            self._failures, self._paused_until = 0, 0.0
            # Whoever began the trial sees that this door knows it.
            self._save()

    async def _pass_on(self, exchange: Exchange, body: dict[str, Any]) -> None:
        """Let the worker answer that the request's name stands for."""
        with _timed(exchange.record):
            async with self._upstream.answer(exchange.record.path, body, exchange.record) as response:
                await relay(response, exchange)

    async def _candidate_answers(self, trial: Trial, exchange: Exchange, body: dict[str, Any]) -> bool:
        """Whether the candidate answered; where it did not, nothing was sent to the client yet.

        Raises:
            Refusal: The request is at fault, or the answer broke off after it had begun.
        """
        record = exchange.record
        record.arm, record.trial = self._counts.candidate, CANARY
        try:
            with _timed(record):
                async with asyncio.timeout(trial.answer_within) as limit:
                    exchange.on_start = lambda: limit.reschedule(None)
                    async with self._upstream.answer(
                        record.path, body, record, name=trial.candidate, patience=PATIENCE
                    ) as response:
                        await relay(response, exchange)
            return True
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
        if exchange.started or (failure.status < 500 and failure.code != GONE):
            raise failure
        record.status = failure.status
        if await self._is_candidates(failure, trial):
            self._count(self._counts.candidate, record)
        record.back_to_champion()
        return False

    async def _is_candidates(self, failure: Refusal, trial: Trial) -> bool:
        """Whether a failure is the candidate's: not where it was just stopped, or FastChat is restarted."""
        if failure.code == UNREACHABLE:
            return bool(await self._upstream.health_problem(trial.candidate))
        return failure.code != GONE

    def _send_copy(self, trial: Trial, record: Record, body: dict[str, Any]) -> None:
        """Send a copy of a request that the champion has answered, for nobody to wait for."""
        if self._is_paused:
            return
        if len(self._copies) >= COPIES:
            self._counts.dropped += 1
            self._metrics.tried("candidate", "", "dropped")
            self._save_soon()
            return
        record.trial = trial.mode
        copy = asyncio.create_task(self._copied(trial, record, body))
        self._copies.add(copy)
        copy.add_done_callback(self._copies.discard)

    async def _copied(self, trial: Trial, record: Record, body: dict[str, Any]) -> None:
        """Send a copy, compare and count its answer, and write a line of it."""
        copy = Record(
            record.id,
            record.path,
            record.client,
            record.key,
            record.model,
            prompt=record.prompt,
            trial="copy",
        )
        copy.texts = {}
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
            self._count(self._counts.candidate, copy, is_failure=copy.status != 200)
        if copy.status == 200 and body.get("temperature") == 0:
            self._compare(record, copy)
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

    def _compare(self, record: Record, copy: Record) -> None:
        is_same = texts_of(record) == texts_of(copy)
        if is_same:
            self._counts.same += 1
        else:
            self._counts.different += 1
        self._metrics.compared(is_same)
        self._save_soon()

    def _count(self, arm: Arm, record: Record, *, is_failure: bool | None = None) -> None:
        """Count a request; one that is at fault itself, or whose client has gone, is not counted."""
        failed = record.status >= 500 if is_failure is None else is_failure
        if not failed and record.status != 200:
            return
        arm.version = record.version or arm.version
        if failed:
            arm.failed += 1
        else:
            arm.add(record.answer_seconds)
        self._metrics.tried(arm.role, arm.version, "failed" if failed else "answered", record.answer_seconds)
        if arm is self._counts.candidate:
            self._note(failed)
        self._save_soon()

    def _note(self, failed: bool) -> None:
        """Leave a candidate alone for a while that fails again and again."""
        self._failures = self._failures + 1 if failed else 0
        if self._failures >= FAILURES:
            self._failures, self._paused_until = 0, time.monotonic() + PAUSE

    @property
    def _is_paused(self) -> bool:
        return time.monotonic() < self._paused_until

    def _save_soon(self) -> None:
        if self._saving is None:
            self._saving = asyncio.get_running_loop().call_later(SAVE_AFTER, self._save)

    def _save(self) -> None:
        self._saving = None
        try:
            self._counts.write(self._folder)
        except OSError:
            # A full disk must not keep a request from its answer.
            traceback.print_exc()


@contextmanager
def _timed(record: Record) -> Iterator[None]:
    """Measure how long a model takes for its answer."""
    began = time.monotonic()
    try:
        yield
    finally:
        record.answer_seconds = time.monotonic() - began
