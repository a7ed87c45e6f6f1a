"""A client of the batched engine with a small model, and the register of the cases that use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from small_model import small_model, small_tokenizer

from batching.engine import Engine
from batching.requests import read_request

TOKENIZER = small_tokenizer()
CONTEXT = 512
KEYS_OF_A_TOKEN = 3 * 2 * 2 * 8 * 4
"""Bytes: layers, keys and values, heads of the keys, numbers in a head, of a float32."""
CASES: dict[str, Callable[[], Any]] = {}


def case(function: Callable[[], Any]) -> Callable[[], Any]:
    CASES[function.__name__] = function
    return function


class Client:
    """Sends requests to an engine, and keeps what it answers."""

    def __init__(
        self, model: Any = None, *, tokens: int | None = 20_000, max_rows: int = 16, **options: Any
    ) -> None:
        self.model = small_model() if model is None else model
        gib = None if tokens is None else tokens * KEYS_OF_A_TOKEN / 1024**3
        self.engine = Engine(self.model, TOKENIZER, max_rows=max_rows, cache_gib=gib, **options)
        self.chunks: list[list[dict[str, Any]]] = []
        self.ended: list[int] = []
        self.seen: list[int] = []
        self.model.model.embed_tokens.register_forward_hook(
            lambda module, inputs, output: self.seen.append(inputs[0].shape[1])
        )

    def send(self, prompt: str, streams: bool = False, adapter: Any = None, **params: Any) -> Any:
        chunks: list[dict[str, Any]] = []
        number = len(self.chunks)
        self.chunks.append(chunks)

        def keep(chunk: dict[str, Any]) -> None:
            chunks.append(chunk)
            if chunk.get("finish_reason") or chunk["error_code"]:
                self.ended.append(number)

        body = {"prompt": prompt, "temperature": 0, "echo": False, "max_new_tokens": 12} | params
        request = read_request(body, TOKENIZER, CONTEXT)
        return self.engine.submit(request, keep, streams=streams, adapter=adapter)

    def finish(self) -> None:
        while self.engine.step():
            pass

    def text(self, number: int = -1) -> str:
        return self.chunks[number][-1]["text"]


def alone(model: Any, prompt: str, **params: Any) -> str:
    """The answer of transformers' own `generate`, cut before the first stop text."""
    temperature, seed = params.get("temperature", 0), params.get("seed")
    sampling = {
        "do_sample": True,
        "temperature": temperature,
        "top_p": params.get("top_p", 1.0),
        "top_k": max(params.get("top_k", 0), 0),
    }
    ids = torch.tensor([TOKENIZER(prompt).input_ids])
    if seed is not None:
        torch.manual_seed(seed)
    with torch.inference_mode():
        output = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=params.get("max_new_tokens", 12),
            eos_token_id=[0, *params.get("stop_token_ids", [])],
            pad_token_id=0,
            repetition_penalty=params.get("repetition_penalty", 1.0),
            **(sampling if temperature else {"do_sample": False}),
        )[0, ids.shape[1] :]
    text = TOKENIZER.decode(output, skip_special_tokens=True, clean_up_tokenization_spaces=True)
    stops = [at for stop in params.get("stop", []) if (at := text.find(stop)) >= 0]
    return text[: min(stops, default=len(text))]
