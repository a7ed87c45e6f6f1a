"""The next token of each row, by FastChat's rules."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from fastchat.serve.inference import prepare_logits_processor

from batching.requests import Request


class Sampler:
    """Chooses the tokens of one row.

    Args:
        request: Its temperature, top_p, top_k, repetition penalty and seed.
        device: Of the logits.
    """

    def __init__(self, request: Request, device: torch.device) -> None:
        self._is_greedy = request.temperature < 1e-5 or request.top_p < 1e-8
        self._penalises = request.repetition_penalty > 1.0
        self._processors = prepare_logits_processor(
            request.temperature, request.repetition_penalty, request.top_p, request.top_k
        )
        self._generator = None if self._is_greedy else torch.Generator(device)
        if self._generator is not None:
            if request.seed is None:
                self._generator.seed()
            else:
                self._generator.manual_seed(request.seed)

    @property
    def is_plain(self) -> bool:
        """Whether it takes the most likely token whatever came before."""
        return self._is_greedy and not self._penalises

    def choose(self, logits: torch.Tensor, tokens: Sequence[int]) -> int:
        """The next token.

        Args:
            logits: (vocabulary).
            tokens: Prompt and answer so far.
        """
        before = torch.tensor([tokens], device=logits.device) if self._penalises else None
        scores = self._processors(before, logits[None].float())
        if self._is_greedy:
            return int(scores.argmax())
        return int(torch.multinomial(scores.softmax(-1), 1, generator=self._generator))


def most_likely(logits: torch.Tensor) -> list[int]:
    """The most likely token of each row.

    Not `argmax`: logits of 16 bits have ties, and FastChat takes the first of `topk(2)`.
    """
    tokens: list[int] = logits.topk(2).indices[:, 0].tolist()
    return tokens
