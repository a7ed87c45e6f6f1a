"""An answer as it grows: its tokens, its text, and where it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from batching.adapters import Adapter
from batching.requests import Request
from batching.sampling import Sampler

Chunk = dict[str, Any]
"""What FastChat's worker sends: the text so far, usage, finish_reason, error_code, logprobs."""


class Row:
    """One request that is answered.

    Args:
        number: Its turn; the first come is the first served.
        request: What is asked for.
        tokenizer: Of the model.
        device: Of the logits.
        streams: Whether the client wants the text as it grows.
        send: Called with each chunk; the last one has a `finish_reason`, or an `error_code` that is not 0.
        adapter: What it is computed with beside the model's own weights.
    """

    def __init__(
        self,
        number: int,
        request: Request,
        *,
        tokenizer: Any,
        device: torch.device,
        streams: bool,
        send: Callable[[Chunk], None],
        adapter: Adapter | None = None,
    ) -> None:
        self.number, self.request, self.streams = number, request, streams
        self.adapter = adapter
        self.tokens = list(request.tokens)
        """Prompt and answer."""
        self.computed = 0
        """Tokens whose keys are in memory."""
        self.is_gone = False
        """Whether it is answered, or its client has left."""
        self.logprobs: list[float | None] = [None]
        self.sampler = Sampler(request, device)
        self._tokenizer, self._send = tokenizer, send
        self._sent = ""
        self._texts: list[str] = []
        """The text of each token whose logprobs were described."""

    @property
    def pending(self) -> int:
        """Tokens that the model has not seen yet; the next one follows the last of them."""
        return len(self.tokens) - self.computed

    @property
    def weights(self) -> int:
        """Number of its adapter; 0: the model's own weights. Keys are of use to rows of the same only."""
        return self.adapter.number if self.adapter else 0

    @property
    def needs_prompt_logits(self) -> bool:
        """Whether the prompt's tokens are scored too."""
        return self.request.echo and self.request.logprobs and not self.answered

    @property
    def answered(self) -> int:
        """Tokens of the answer so far."""
        return len(self.tokens) - len(self.request.tokens)

    def start_over(self) -> None:
        """Forget what was computed, and keep the answer so far."""
        self.computed = 0
        if not self.answered:
            self.logprobs = [None]

    def score_prompt(self, logits: torch.Tensor) -> None:
        """Take the logits of prompt tokens whose successors are known: (tokens, vocabulary)."""
        known = self.tokens[len(self.logprobs) : len(self.logprobs) + len(logits)]
        chosen = torch.tensor(known, device=logits.device)[:, None]
        scores: list[float] = logits[: len(known)].float().log_softmax(-1).gather(1, chosen)[:, 0].tolist()
        self.logprobs += scores

    def add(self, token: int, logits: torch.Tensor) -> None:
        """Take the next token and the logits that it was chosen by, and send what is new."""
        self.tokens.append(token)
        if self.request.logprobs:
            self.logprobs.append(float(logits.float().log_softmax(-1)[token]))
        ends = token in self.request.stop_token_ids
        is_full = self.answered >= self.request.max_new_tokens
        if not (self.streams or self.request.stop or ends or is_full):
            return
        text, is_cut = self._text()
        if ends or is_cut:
            self.finish("stop", text)
        elif is_full:
            self.finish("length", text)
        elif self.streams:
            self._stream(text)

    def _text(self) -> tuple[str, bool]:
        """The text so far, up to the first stop text; whether there is one."""
        shown = self.tokens if self.request.echo else self.tokens[len(self.request.tokens) :]
        text: str = self._tokenizer.decode(
            shown,
            skip_special_tokens=True,
            spaces_between_special_tokens=False,
            clean_up_tokenization_spaces=True,
        )
        found = [at for stop in self.request.stop if (at := text.find(stop, self._begin)) >= 0]
        return (text[: min(found)], True) if found else (text, False)

    @property
    def _begin(self) -> int:
        """Where the answer begins in the text."""
        return len(self.request.prompt) if self.request.echo else 0

    def _stream(self, text: str) -> None:
        """Send the text without an end that may change: half a character, or a stop text's beginning."""
        stable = text.rstrip("\N{REPLACEMENT CHARACTER}")
        stable = stable[: len(stable) - _partial_stop(stable[self._begin :], self.request.stop)]
        if len(stable) > len(self._sent):
            self._sent = stable
            self._send(self._chunk(stable, None))

    def finish(self, reason: str, text: str | None = None) -> None:
        """Send the whole answer."""
        self.is_gone = True
        self._send(self._chunk(self._text()[0] if text is None else text, reason))

    def fail(self, code: int, message: str) -> None:
        """Send an error in place of the answer."""
        self.is_gone = True
        self._send({"text": message, "error_code": int(code)})

    def _chunk(self, text: str, reason: str | None) -> Chunk:
        # FastChat counts the tokens before the last one.
        prompt, answer = len(self.request.tokens), max(self.answered - 1, 0)
        usage = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
        return {
            "text": text,
            "error_code": 0,
            "usage": usage,
            "finish_reason": reason,
            "logprobs": self._described_logprobs(),
        }

    def _described_logprobs(self) -> dict[str, Any] | None:
        """FastChat's form of the probabilities; None where they were not asked for."""
        if not self.request.logprobs:
            return None
        first = 0 if self.request.echo else len(self.request.tokens)
        self._texts += map(self._tokenizer.decode, self.tokens[first + len(self._texts) :])
        texts = list(self._texts)
        offsets = [0]
        for text in texts[:-1]:
            offsets.append(offsets[-1] + len(text))
        return {
            "text_offset": offsets,
            "tokens": texts,
            "token_logprobs": self.logprobs[-len(texts) :],
            "top_logprobs": [{}] * len(texts),
        }


def _partial_stop(text: str, stops: Iterable[str]) -> int:
    """Length of the longest end of a text with which a stop text begins."""
    beginnings = (stop[:n] for stop in stops for n in range(1, min(len(stop), len(text) + 1)))
    return max((len(beginning) for beginning in beginnings if text.endswith(beginning)), default=0)
