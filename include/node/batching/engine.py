"""Rows join, leave and wait between two steps of the model."""

from __future__ import annotations

import logging
import queue
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import torch
from fastchat.constants import ErrorCode
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from batching.adapters import Adapter, Adapters
from batching.keys import KeyStore, Pass, Segment, attend
from batching.memory import head_size, layer_devices, token_capacity
from batching.requests import Request
from batching.rows import Chunk, Row
from batching.sampling import most_likely

log = logging.getLogger(__name__)

ATTENTION = "sqltune_batched"
"""Name of `attend` among transformers' attention functions."""
CHUNK = {"cpu": 128, "cuda": 1024}
"""Tokens of joining rows in one step: so long do the others wait for their next token."""
RESERVE = 64
"""Tokens of an answer that there must be room for when a row joins; it may grow beyond them."""
_NOT_FINITE = (
    "the model's scores are not finite (NaN or infinite): set serving_dtype to bfloat16 or float32 in the "
    "recipe"
)


class Engine:
    """Answers many requests at once with one model.

    `submit` may be called from any thread; `step` from one only.

    Args:
        model: A model that `models` allows; it is changed to use `attend`.
        tokenizer: Of the model.
        max_rows: Rows that are computed at once.
        cache_gib: Memory for keys and values, in GiB; None: see `memory`.
        deterministic: One row at a time, which shares nothing: its answer does not depend on the others.
        chunk: Tokens of joining rows in one step; None: by the device.
        adapters: Of the model, where rows may have some.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        max_rows: int,
        cache_gib: float | None = None,
        deterministic: bool = False,
        chunk: int | None = None,
        adapters: Adapters | None = None,
    ) -> None:
        config = model.config
        ALL_ATTENTION_FUNCTIONS[ATTENTION] = attend
        config._attn_implementation = ATTENTION
        self._model, self._tokenizer = model.eval(), tokenizer
        self.adapters = adapters
        devices = layer_devices(model)
        self._device = devices[0]
        self._groups = config.num_attention_heads // config.num_key_value_heads
        self._cache_gib = cache_gib
        capacity = token_capacity(model, cache_gib)
        self._store = KeyStore(devices, config.num_key_value_heads, head_size(config), model.dtype, capacity)
        self._max_rows = 1 if deterministic else max_rows
        self._shares = not deterministic
        self._chunk = chunk or CHUNK.get(self._device.type, CHUNK["cpu"])
        self._arrived: queue.SimpleQueue[Row] = queue.SimpleQueue()
        self._waiting: deque[Row] = deque()
        self._rows: list[Row] = []
        """The rows that are computed; the place in this list is a row's slot."""
        self._submitted = 0

    @property
    def capacity(self) -> int:
        """Tokens whose keys and values may be in memory."""
        return self._store.capacity

    @property
    def unanswered(self) -> int:
        """Requests that are computed or wait."""
        return len(self._rows) + len(self._waiting) + self._arrived.qsize()

    def submit(
        self,
        request: Request,
        send: Callable[[Chunk], None],
        *,
        streams: bool = False,
        adapter: Adapter | None = None,
    ) -> Row:
        """Queue a request.

        Args:
            request: What is asked for.
            send: Called from the thread that steps, with each chunk.
            streams: Whether the text is wanted as it grows.
            adapter: Of those of the engine; None: the model's own weights answer.

        Returns:
            Its row; set `is_gone` when nobody waits for the answer any more.
        """
        self._submitted += 1
        row = Row(
            self._submitted,
            request,
            tokenizer=self._tokenizer,
            device=self._model.lm_head.weight.device,
            streams=streams,
            send=send,
            adapter=adapter,
        )
        self._arrived.put(row)
        return row

    def step(self) -> bool:
        """Compute the next token of each row, and the first tokens of rows that join.

        Returns:
            Whether there was anything to compute.

        Raises:
            torch.AcceleratorError: The GPU has failed, and answers this process no more.
            Exception: The memory of a step that failed cannot be given back.
        """
        # What fails is the answer to its rows; the others go on.
        try:
            return self._step()
        except torch.OutOfMemoryError as e:
            self._fail_all(ErrorCode.CUDA_OUT_OF_MEMORY, e)
        except torch.AcceleratorError as e:
            # The driver's own: whatever else took the memory, the GPU works.
            if "out of memory" not in str(e):
                raise
            self._fail_all(ErrorCode.CUDA_OUT_OF_MEMORY, e)
        except Exception as e:
            log.exception("a step failed")
            self._fail_all(ErrorCode.INTERNAL_ERROR, e)
        return True

    def _step(self) -> bool:
        self._take_arrived()
        self._close_gaps()
        self._put_back_what_does_not_fit()
        segments = self._segments()
        if segments:
            self._compute(segments)
        return bool(segments)

    def _take_arrived(self) -> None:
        while not self._arrived.empty():
            self._waiting.append(self._arrived.get())
        if self._waiting and not self._store.slots:
            # Others on the same GPUs have taken memory since, or given it back.
            self._store.capacity = token_capacity(self._model, self._cache_gib)
        self._refuse_what_never_fits()
        self._waiting = deque(row for row in self._waiting if not row.is_gone)

    def _refuse_what_never_fits(self) -> None:
        for row in self._waiting:
            if not row.is_gone and not self._store.fits(1, len(row.tokens) + 1):
                # Not an error of the server, after which clients try again.
                row.fail(
                    ErrorCode.CONTEXT_OVERFLOW,
                    f"the prompt has {len(row.request.tokens)} tokens, and there is memory for the keys of "
                    f"{self.capacity}, with the answer: shorten it, or raise serving.cache_gib in the "
                    "cluster file, for the next promotion",
                )

    def _close_gaps(self) -> None:
        """Fill the slots of rows that are gone with the last rows; one that still joins stays last."""
        joining = [self._rows.pop()] if self._rows and self._rows[-1].pending > 1 else []
        slot_of_joining = len(self._rows)
        for slot in reversed(range(len(self._rows))):
            if self._rows[slot].is_gone:
                moved = self._rows.pop()
                if slot < len(self._rows):
                    self._store.copy(len(self._rows), slot, moved.computed)
                    self._rows[slot] = moved
        for row in joining:
            if not row.is_gone:
                if slot_of_joining != len(self._rows):
                    self._store.copy(slot_of_joining, len(self._rows), row.computed)
                self._rows.append(row)

    def _put_back_what_does_not_fit(self) -> None:
        """Make room for the rows' next tokens: where there is none, the newest rows wait and begin again."""
        while self._rows and not self._store.fits(len(self._rows), self._longest()):
            newest = max(self._rows, key=lambda row: row.number)
            if len(self._rows) == 1:
                newest.finish("length")
            else:
                slot = self._rows.index(newest)
                last = self._rows.pop()
                if last is not newest:
                    self._store.copy(len(self._rows), slot, last.computed)
                    self._rows[slot] = last
                newest.start_over()
                self._waiting.appendleft(newest)
            self._close_gaps()

    def _longest(self) -> int:
        return max((len(row.tokens) for row in self._rows), default=0)

    def _segments(self) -> list[Segment]:
        """The next pass: the rows' tokens, then waiting rows', as far as chunk and memory allow."""
        left = self._chunk
        segments = []
        for slot, row in enumerate(self._rows):
            count = row.pending if row.pending == 1 else min(row.pending, left)
            segments.append(Segment(slot, row.computed, count))
            left -= count if row.pending > 1 else 0
        while left > 0 and self._waiting and self._has_room_for(self._waiting[0]):
            row = self._waiting.popleft()
            self._join(row)
            count = min(row.pending, left)
            segments.append(Segment(len(self._rows) - 1, row.computed, count))
            left -= count
        if segments:
            self._store.make_room(len(self._rows), self._longest())
        return segments

    def _has_room_for(self, row: Row) -> bool:
        if not self._rows:
            return True
        expected = len(row.tokens) + min(row.request.max_new_tokens - row.answered, RESERVE)
        return len(self._rows) < self._max_rows and self._store.fits(
            len(self._rows) + 1, max(self._longest(), expected)
        )

    def _join(self, row: Row) -> None:
        self._rows.append(row)
        self._store.make_room(len(self._rows), self._longest())
        slot = len(self._rows) - 1
        if self._shares and not row.needs_prompt_logits:
            row.computed = self._store.share(slot, row.tokens, row.weights)
        else:
            self._store.cut(slot, 0)
        self._store.weights[slot] = row.weights

    @torch.inference_mode()  # type: ignore[untyped-decorator]  # torch has no types here
    def _compute(self, segments: Sequence[Segment]) -> None:
        tokens = [t for s in segments for t in self._rows[s.slot].tokens[s.start : s.end]]
        rows = Pass(segments, self._model.dtype, self._device, self._groups)
        self._store.begin(rows)
        if self.adapters:
            self.adapters.begin((self._rows[s.slot].adapter, s.count) for s in segments)
        hidden = self._model.model(
            input_ids=torch.tensor([tokens], device=self._device),
            position_ids=rows.positions[None],
            # Not read by `attend`; with four dimensions, transformers makes none of its own.
            attention_mask=torch.empty((1, 1, 1, 1), device=self._device),
            past_key_values=self._store,
            use_cache=True,
            rows=rows,
        ).last_hidden_state[0]
        self._advance(segments, hidden)

    def _advance(self, segments: Sequence[Segment], hidden: torch.Tensor) -> None:
        """Take the last layer's outputs: each row whose tokens have all been seen gets its next token."""
        at, last_outputs, complete = 0, [], []
        for segment in segments:
            row = self._rows[segment.slot]
            self._store.held[segment.slot] += row.tokens[segment.start : segment.end]
            row.computed = segment.end
            if row.needs_prompt_logits:
                row.score_prompt(self._model.lm_head(hidden[at : at + segment.count]))
            at += segment.count
            if not row.pending:
                last_outputs.append(at - 1)
                complete.append(row)
        if not complete:
            return
        logits = self._model.lm_head(hidden[torch.tensor(last_outputs, device=hidden.device)])
        for row, token, scores in zip(complete, most_likely(logits), logits, strict=True):
            if row.sampler.is_plain:
                row.add(token, scores)
            elif scores.max().isfinite():
                row.add(row.sampler.choose(scores, row.tokens), scores)
            else:
                # Drawing from NaN would fail the whole step, and on CUDA the process.
                row.fail(ErrorCode.INTERNAL_ERROR, _NOT_FINITE)

    def _fail_all(self, code: ErrorCode, error: Exception) -> None:
        """Answer the rows of a step that failed with its error, and give their memory back."""
        for row in self._rows:
            row.fail(code, f"the model failed ({type(error).__name__}: {error}): try again, or read its log")
        self._rows.clear()
        self.give_memory_back()

    def give_memory_back(self) -> None:
        """Hold no keys and values, of which there must be no row that is computed.

        The thread that steps calls it. The next request takes memory again, as much as there is by then.
        """
        self._store.clear()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
