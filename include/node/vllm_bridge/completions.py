"""FastChat's parameters of a request as vLLM's, and vLLM's answers as FastChat's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastchat.constants import ErrorCode

from batching.requests import RequestError
from vllm_bridge.command import MODEL
from worker_interface import Chunk

LOGPROBS = ("text_offset", "token_logprobs", "tokens", "top_logprobs")


def completion_request(params: Mapping[str, Any], *, streams: bool) -> dict[str, Any]:
    """The body of vLLM's `/v1/completions`, with FastChat's defaults.

    Raises:
        RequestError: A parameter is missing, of another type or out of range.
    """
    try:
        # FastChat takes the most likely token where vLLM knows no such value.
        is_greedy = _number(params, "temperature", 1.0) < 1e-5 or _number(params, "top_p", 1.0) < 1e-8
        body: dict[str, Any] = {
            "model": MODEL,
            "prompt": _text(params["prompt"]),
            "max_tokens": int(params.get("max_new_tokens", 256)),
            "temperature": 0.0 if is_greedy else _number(params, "temperature", 1.0),
            "top_p": 1.0 if is_greedy else _number(params, "top_p", 1.0),
            # Below 1: all tokens, which are 0 to vLLM.
            "top_k": max(int(_number(params, "top_k", -1)), 0),
            "repetition_penalty": max(_number(params, "repetition_penalty", 1.0), 1.0),
            "presence_penalty": _number(params, "presence_penalty", 0.0),
            "frequency_penalty": _number(params, "frequency_penalty", 0.0),
            "stop": _texts(params.get("stop")),
            "stop_token_ids": list(map(int, params.get("stop_token_ids") or ())),
            "echo": bool(params.get("echo", True)),
            "logprobs": params.get("logprobs"),
            "seed": params.get("seed"),
        }
    except (KeyError, TypeError, ValueError) as e:
        raise RequestError(
            ErrorCode.VALIDATION_TYPE_ERROR, f"the request cannot be read ({type(e).__name__}: {e})"
        ) from e
    if body["max_tokens"] < 1:
        raise RequestError(
            ErrorCode.PARAM_OUT_OF_RANGE, f"max_new_tokens is {body['max_tokens']}: 1 or more is expected"
        )
    return body | (_STREAM if streams else {})


_STREAM = {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}


def _number(params: Mapping[str, Any], name: str, default: float) -> float:
    """A parameter that FastChat's API sends as null where the client left it out."""
    value = params.get(name)
    return default if value is None else float(value)


def _text(prompt: Any) -> str:
    if not isinstance(prompt, str):
        raise TypeError(f"prompt is {type(prompt).__name__}: a text is expected")
    return prompt


def _texts(stop: Any) -> list[str]:
    return [text for text in ([stop] if isinstance(stop, str) else stop or ()) if text]


class Answer:
    """An answer as it grows: FastChat sends all of it each time, vLLM what is new."""

    def __init__(self) -> None:
        self._text = ""
        self._logprobs: dict[str, list[Any]] | None = None

    def add(self, piece: Mapping[str, Any]) -> Chunk:
        """FastChat's chunk after one piece of vLLM's, or after the whole.

        Args:
            piece: vLLM's answer, or one event of its stream that has a choice.
        """
        (choice,) = piece["choices"]
        self._text += choice["text"]
        if logprobs := choice.get("logprobs"):
            before = self._logprobs or {}
            self._logprobs = {name: before.get(name, []) + (logprobs[name] or []) for name in LOGPROBS}
        return {
            "text": self._text,
            "error_code": 0,
            "usage": _usage(piece["usage"]),
            "finish_reason": choice["finish_reason"],
            "logprobs": self._logprobs,
        }


def _usage(usage: Mapping[str, int]) -> dict[str, int]:
    """FastChat counts the tokens before the last one."""
    prompt, answer = usage["prompt_tokens"], max(usage["completion_tokens"] - 1, 0)
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
