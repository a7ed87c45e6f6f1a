"""What a client asks for, in FastChat's parameters, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastchat.constants import ErrorCode

MAX_STOPS = 16
"""Stop texts of a request, with the one that FastChat's API adds from the model's template."""
MAX_STOP_LENGTH = 256
"""Characters of a stop text: all of them are looked for with each token, while the other rows wait."""


class RequestError(Exception):
    """A request that cannot be answered.

    Args:
        code: FastChat's code.
        message: What was found, what is possible and what to do.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Request:
    """One prompt, and how it is to be answered.

    Attributes:
        prompt: Its text.
        tokens: Its tokens.
        max_new_tokens: Tokens of the answer, at most.
        temperature: Below 1e-5 the most likely token is taken.
        top_p: Share of probability that tokens are drawn from; below 1e-8 the most likely one is taken.
        top_k: Tokens that are drawn from; below 1: all.
        repetition_penalty: Divides the score of tokens that came before; 1 or less: none.
        stop: Texts before which the answer ends.
        stop_token_ids: Tokens with which it ends.
        echo: Whether the text of the answer begins with the prompt.
        logprobs: Whether each token's logarithmic probability is part of the answer.
        seed: Of the row's own random numbers, for tests: FastChat's API forwards none. None: a new one.
    """

    prompt: str
    tokens: tuple[int, ...]
    max_new_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = -1
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    stop_token_ids: frozenset[int] = frozenset()
    echo: bool = True
    logprobs: bool = False
    seed: int | None = None


def read_request(params: Mapping[str, Any], tokenizer: Any, context_length: int) -> Request:
    """Check FastChat's parameters of a request, with its defaults.

    Raises:
        RequestError: A parameter is missing, of another type or out of range, or the prompt is too long.
    """
    try:
        prompt = params["prompt"]
        tokens = tuple(tokenizer(prompt).input_ids)
        eos = {tokenizer.eos_token_id} - {None}
        seed = params.get("seed")
        request = Request(
            prompt=prompt,
            tokens=tokens,
            max_new_tokens=min(int(params.get("max_new_tokens", 256)), context_length - len(tokens)),
            temperature=float(params.get("temperature", 1.0)),
            top_p=float(params.get("top_p", 1.0)),
            top_k=int(params.get("top_k", -1)),
            repetition_penalty=float(params.get("repetition_penalty", 1.0)),
            stop=_texts(params.get("stop")),
            stop_token_ids=frozenset(map(int, params.get("stop_token_ids") or ())) | eos,
            echo=bool(params.get("echo", True)),
            logprobs=params.get("logprobs") is not None,
            seed=None if seed is None else int(seed) % 2**63,
        )
    except (KeyError, TypeError, ValueError) as e:
        raise RequestError(
            ErrorCode.VALIDATION_TYPE_ERROR, f"the request cannot be read ({type(e).__name__}: {e})"
        ) from e
    _require_short_stops(request.stop)
    _require_tokens(request, context_length, params.get("max_new_tokens", 256))
    return request


def _texts(stop: Any) -> tuple[str, ...]:
    texts = [stop] if isinstance(stop, str) else list(stop or ())
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(f"stop is {stop!r}: a text or a list of texts is expected")
    return tuple(text for text in texts if text)


def _require_short_stops(stops: tuple[str, ...]) -> None:
    longest = max(map(len, stops), default=0)
    if len(stops) > MAX_STOPS:
        found = f"{len(stops)} texts, the model's template's included: {MAX_STOPS}"
    elif longest > MAX_STOP_LENGTH:
        found = f"a text of {longest} characters: {MAX_STOP_LENGTH}"
    else:
        return
    raise RequestError(ErrorCode.PARAM_OUT_OF_RANGE, f"stop has {found} or fewer are expected")


def _require_tokens(request: Request, context_length: int, max_new_tokens: int) -> None:
    count = len(request.tokens)
    if not count:
        raise RequestError(ErrorCode.VALIDATION_TYPE_ERROR, "the prompt has no token: send a text")
    if count >= context_length:
        raise RequestError(
            ErrorCode.CONTEXT_OVERFLOW,
            f"the prompt has {count} tokens, and the model's context is {context_length}, with the answer: "
            "shorten the prompt",
        )
    if request.max_new_tokens < 1:
        raise RequestError(
            ErrorCode.PARAM_OUT_OF_RANGE, f"max_new_tokens is {max_new_tokens}: 1 or more is expected"
        )
