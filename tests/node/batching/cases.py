"""What the batched engine does with a small model, as JSON; `test_engine` runs it in the node environment.

python cases.py [NAME ...]
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import torch
from accelerate import dispatch_model
from fastchat.serve.inference import generate_stream
from small_model import HEAD, small_model, small_prompts, small_tokenizer

from batching import memory
from batching.engine import Engine
from batching.requests import RequestError, read_request
from batching.thread import EngineThread

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

    def send(self, prompt: str, streams: bool = False, **params: Any) -> Any:
        chunks: list[dict[str, Any]] = []
        number = len(self.chunks)
        self.chunks.append(chunks)

        def keep(chunk: dict[str, Any]) -> None:
            chunks.append(chunk)
            if chunk.get("finish_reason") or chunk["error_code"]:
                self.ended.append(number)

        body = {"prompt": prompt, "temperature": 0, "echo": False, "max_new_tokens": 12} | params
        return self.engine.submit(read_request(body, TOKENIZER, CONTEXT), keep, streams=streams)

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


def mixed_requests(count: int) -> list[tuple[str, dict[str, Any]]]:
    numbers = random.Random(3)
    requests = []
    for i, prompt in enumerate(small_prompts(count)):
        params: dict[str, Any] = {"max_new_tokens": numbers.randint(1, 24)}
        params |= [
            {},
            {"repetition_penalty": 1.3},
            {"temperature": 0.8, "seed": i},
            {"temperature": 1.2, "seed": i, "top_p": 0.9},
            {"temperature": 1.0, "seed": i, "top_k": 5},
        ][i % 5]
        params |= [{}, {"stop": ["e", "SELECT"]}, {"stop": [" ", "\n\n"]}, {"stop_token_ids": [40, 41]}][
            i % 4
        ]
        requests.append((prompt, params))
    return requests


@case
def many() -> dict[str, Any]:
    """A thousand requests that come and go, in memory for a few of them."""
    requests = mixed_requests(120)
    reference = small_model()
    expected = [alone(reference, prompt, **params) for prompt, params in requests]
    client = Client(tokens=700, chunk=40)
    numbers = random.Random(1)
    sent: list[int] = []
    leaving: list[Any] = []
    left: set[int] = set()
    begun_again = 0
    while len(sent) < 1000 or client.engine.unanswered:
        for _ in range(min(numbers.randint(0, 3), 1000 - len(sent))):
            which = numbers.randrange(len(requests))
            prompt, params = requests[which]
            row = client.send(prompt, streams=bool(len(sent) % 2), **params)
            if numbers.random() < 0.1:
                leaving.append((len(client.seen) + numbers.randint(1, 30), len(sent), row))
            sent.append(which)
        for at, number, row in leaving:
            if len(client.seen) >= at and not row.is_gone:
                row.is_gone = True
                left.add(number)
        client.engine.step()
        begun_again += sum(row.answered > 0 for row in client.engine._waiting)
    answered = [i for i in range(1000) if i not in left]
    return {
        "left": len(left),
        "texts": len(set(expected)),
        "lost": [i for i in answered if client.ended.count(i) != 1],
        "late": [i for i in left if i in client.ended],
        "wrong": [i for i in answered if client.text(i) != expected[sent[i]]],
        "streamed": sum(len(chunks) > 1 for chunks in client.chunks),
        "not_a_beginning": [
            i for i in answered for chunk in client.chunks[i] if not client.text(i).startswith(chunk["text"])
        ],
        "begun_again": begun_again,
    }


@case
def another_family() -> dict[str, Any]:
    requests = mixed_requests(20)
    reference = small_model("qwen2")
    client = Client(small_model("qwen2"))
    for prompt, params in requests:
        client.send(prompt, **params)
    client.finish()
    expected = [alone(reference, prompt, **params) for prompt, params in requests]
    return {"wrong": [i for i, text in enumerate(expected) if client.text(i) != text]}


@case
def hooks() -> dict[str, Any]:
    """A model that accelerate has spread out, as one on several GPUs; its parts are all on the CPU here."""
    parts = ["model.embed_tokens", *(f"model.layers.{i}" for i in range(3)), "model.norm", "model.rotary_emb"]
    places = dict.fromkeys([*parts, "lm_head"], "cpu")
    client = Client(dispatch_model(small_model(), places, main_device="cpu", force_hooks=True))
    prompts = small_prompts(8)
    for prompt in prompts:
        client.send(prompt)
    client.finish()
    reference = small_model()
    return {"wrong": [i for i, prompt in enumerate(prompts) if client.text(i) != alone(reference, prompt)]}


@case
def bounded_memory() -> dict[str, Any]:
    """Rows that need more than there is: the memory is never exceeded, and those who came first are first."""
    client = Client(tokens=400, max_rows=64)
    store = client.engine._store
    prompts = small_prompts(20)
    for prompt in prompts:
        client.send(prompt, max_new_tokens=40)
    rows, cells = 0, 0
    while client.engine.step():
        rows = max(rows, len(client.engine._rows))
        cells = max(cells, store.slots * store.width)
    reference = small_model()
    wrong = [i for i, p in enumerate(prompts) if client.text(i) != alone(reference, p, max_new_tokens=40)]
    client.send("SELECT " * 210)
    client.finish()
    refused = client.chunks[-1][-1]
    return {"rows": rows, "cells": cells, "wrong": wrong, "refused": [refused["error_code"], refused["text"]]}


@case
def idle() -> dict[str, Any]:
    """An engine that is asked, has nothing to do for a while, and is asked again."""
    client = Client()
    thread = EngineThread(client.engine, idle_seconds=0.05)
    request = read_request({"prompt": HEAD, "temperature": 0, "echo": False}, TOKENIZER, CONTEXT)

    async def ask() -> str:
        *_, last = [chunk async for chunk in thread.answer(request, streams=False)]
        return last["text"]

    thread.start()
    texts = [asyncio.run(ask())]
    while client.engine._store.slots:
        time.sleep(0.01)
    texts.append(asyncio.run(ask()))
    return {"texts": texts, "alone": alone(small_model(), HEAD, max_new_tokens=256)}


@case
def measured_again() -> dict[str, Any]:
    """A budget that others have used up while the engine starts, and give back later."""
    usual, memory.CPU_GIB = memory.CPU_GIB, 10 * KEYS_OF_A_TOKEN / 1024**3
    client = Client(tokens=None)
    client.send(HEAD)
    client.finish()
    memory.CPU_GIB = usual
    client.send(HEAD)
    client.finish()
    return {"codes": [chunks[-1]["error_code"] for chunks in client.chunks], "text": client.text()}


@case
def a_row_that_outgrows_the_memory() -> dict[str, Any]:
    client = Client(tokens=100)
    client.send(HEAD, max_new_tokens=200, temperature=2.0, seed=2)
    client.finish()
    return client.chunks[0][-1]


@case
def turns() -> list[int]:
    """Two rows at once, and answers of one length: they end in the order in which they came."""
    client = Client(max_rows=2)
    for prompt in small_prompts(9):
        client.send(prompt, max_new_tokens=3, temperature=1.0, seed=1)
    client.finish()
    return client.ended


@case
def a_long_prompt() -> dict[str, Any]:
    """It is computed in chunks, and a row that runs gets a token in each of the steps."""
    client = Client(chunk=32)
    running = client.send("SELECT", max_new_tokens=60, temperature=1.0, seed=3)
    client.engine.step()
    prompt = "name age FROM head " * 20
    long = client.send(prompt, max_new_tokens=1)
    begun, steps = running.answered, 0
    while not long.is_gone:
        client.engine.step()
        steps += 1
    return {
        "tokens": len(long.request.tokens),
        "steps": steps,
        "gained": running.answered - begun,
        "largest_step": max(client.seen),
        "right": client.text(1) == alone(small_model(), prompt, max_new_tokens=1),
    }


@case
def a_shared_head() -> dict[str, Any]:
    """Of prompts with one head, only the first one's is computed, even after its row has left."""
    client = Client()
    computed = []
    for end in ("head", "age", "name"):
        before = sum(client.seen)
        client.send(HEAD + end, max_new_tokens=1)
        client.finish()
        computed.append(sum(client.seen) - before)
    right = [client.text(i) for i in range(3)] == [
        alone(small_model(), HEAD + end, max_new_tokens=1) for end in ("head", "age", "name")
    ]
    return {"head": len(TOKENIZER(HEAD).input_ids), "computed": computed, "right": right}


@case
def stop_texts() -> dict[str, Any]:
    """An answer that is known beforehand, and texts at which it is to be cut."""
    client = Client()
    client.send(HEAD, max_new_tokens=40, repetition_penalty=1.5)
    client.finish()
    whole = client.text()
    # Texts that begin inside one token and end inside another, and occur before and after others.
    pieces = [TOKENIZER.decode(t) for t in TOKENIZER(whole).input_ids]
    across = next(a[-1] + b[0] for a, b in itertools.pairwise(pieces[3:]) if a and b)
    later = whole[len(whole) // 2 : len(whole) // 2 + 3]
    found = {}
    for name, stops in {"across": [across], "both": [later, across], "none": ["§§"]}.items():
        client.send(HEAD, streams=True, max_new_tokens=40, repetition_penalty=1.5, stop=stops)
        client.finish()
        cut = min((at for s in stops if (at := whole.find(s)) >= 0), default=len(whole))
        chunks = client.chunks[-1]
        found[name] = {
            "right": client.text() == whole[:cut],
            "reason": chunks[-1]["finish_reason"],
            "sent_more": [c["text"] for c in chunks if len(c["text"]) > cut],
            "chunks": len(chunks),
        }
    return found


@case
def like_fastchat() -> dict[str, Any]:
    """The last chunk of FastChat's own generator and of the engine, for the same parameters."""
    reference = small_model()
    client = Client()
    bodies = {
        "plain": {},
        "echo": {"echo": True},
        "logprobs": {"logprobs": 1},
        "echo and logprobs": {"echo": True, "logprobs": 1},
        "one token": {"max_new_tokens": 1},
        "penalty": {"repetition_penalty": 1.4, "max_new_tokens": 20},
        "end token": {"stop_token_ids": [TOKENIZER.encode("SELECT")[0]], "repetition_penalty": 1.2},
    }
    found = {}
    for name, params in bodies.items():
        body = {"prompt": HEAD + "age", "temperature": 0, "echo": False, "max_new_tokens": 9} | params
        *_, theirs = generate_stream(reference, TOKENIZER, dict(body), "cpu", CONTEXT, 1)
        client.send(**body)
        client.finish()
        ours = client.chunks[-1][-1]
        theirs_logprobs = theirs.pop("logprobs")
        ours_logprobs = ours.pop("logprobs")
        found[name] = {
            "ours": ours,
            "theirs": theirs | {"error_code": 0},
            "logprobs": [_rounded(ours_logprobs), _rounded(theirs_logprobs)],
        }
    return found


@case
def streamed_logprobs() -> dict[str, Any]:
    """The tokens that are decoded one by one for a stream, and what its last chunk says of them."""
    client = Client()
    params = {"max_new_tokens": 40, "repetition_penalty": 1.5, "logprobs": 1}
    client.send(HEAD, **params)
    client.finish()
    decode, single = TOKENIZER.decode, []

    def count(tokens: Any, *args: Any, **options: Any) -> str:
        single.extend([tokens] if isinstance(tokens, int) else [])
        return decode(tokens, *args, **options)

    TOKENIZER.decode = count
    row = client.send(HEAD, streams=True, **params)
    client.finish()
    TOKENIZER.decode = decode
    whole, streamed = (chunks[-1]["logprobs"] for chunks in client.chunks)
    return {
        "chunks": len(client.chunks[-1]),
        "decoded": len(single),
        "answered": row.answered,
        "equal": _rounded(whole) == _rounded(streamed),
    }


def _rounded(logprobs: dict[str, Any] | None) -> dict[str, Any] | None:
    if logprobs is None:
        return None
    scores = [None if s is None else round(s, 3) for s in logprobs["token_logprobs"]]
    return logprobs | {"token_logprobs": scores}


@case
def a_step_that_fails() -> dict[str, Any]:
    client = Client()
    lm_head = client.model.lm_head
    errors = {
        "memory": torch.OutOfMemoryError("injected"),
        "driver": torch.AcceleratorError("CUDA error: out of memory (injected)"),
        "other": RuntimeError("injected"),
    }
    found = {}
    for name, error in errors.items():

        def fail(*_: Any, error: Exception = error) -> None:
            raise error

        hook = lm_head.register_forward_pre_hook(fail)
        client.send(HEAD)
        client.send(HEAD)
        client.finish()
        hook.remove()
        found[name] = [client.chunks[-2][-1], client.chunks[-1][-1]]
    make_room = client.engine._store.make_room
    client.engine._store.make_room = lambda *_: fail(error=errors["memory"])  # type: ignore[method-assign]
    client.send(HEAD)
    client.engine.step()
    client.engine._store.make_room = make_room  # type: ignore[method-assign]
    found["allocation"] = [client.chunks[-1][-1]] * 2
    client.send(HEAD)
    client.finish()
    return found | {"afterwards": client.text() == alone(small_model(), HEAD)}


@case
def not_a_number() -> dict[str, Any]:
    """A row that becomes NaN, and one that takes its slot, in each of three ways, beside a longer one."""
    short, long = HEAD + "age", HEAD + "name age FROM head " * 10
    found = {}
    for way in ("shared", "scored", "moved"):
        client = Client()
        poisoned = _send_poisoned(client, "name age FROM head " * 8)
        if way != "moved":
            client.finish()
        client.send(short, **({"echo": True, "logprobs": 1} if way == "scored" else {}))
        client.engine.step()
        poisoned.is_gone = True
        client.send(long)
        client.finish()
        answers = [(1, short), (2, long)]
        found[way] = [client.text(i).endswith(alone(small_model(), prompt)) for i, prompt in answers]
    return found


@case
def nan_while_sampling() -> dict[str, Any]:
    """A row that becomes NaN and draws its tokens, beside another."""
    client = Client()
    client.send(HEAD)
    client.engine.step()
    _send_poisoned(client, "name age FROM head", beside=1, temperature=1.0)
    client.finish()
    return {
        "code": client.chunks[1][-1]["error_code"],
        "message": client.text(1),
        "right": client.text(0) == alone(small_model(), HEAD),
    }


def _send_poisoned(client: Client, prompt: str, *, beside: int = 0, **params: Any) -> Any:
    """A request whose prompt's keys and values are NaN, in all layers, beside so many rows."""

    def poison(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
        output[:, beside:] = torch.nan

    attention = client.model.model.layers[0].self_attn
    hooks = [part.register_forward_hook(poison) for part in (attention.k_proj, attention.v_proj)]
    row = client.send(prompt, **params)
    client.engine.step()
    for hook in hooks:
        hook.remove()
    return row


@case
def deterministic() -> dict[str, Any]:
    """In bfloat16: each answer alone in its engine, and all of them at once."""
    prompts = small_prompts(16)
    model = small_model().bfloat16()
    client = Client(model, deterministic=True)
    for prompt in prompts:
        client.send(prompt, max_new_tokens=24)
    rows = 0
    while client.engine.step():
        rows = max(rows, len(client.engine._rows))
    wrong = []
    for i, prompt in enumerate(prompts):
        single = Client(model, deterministic=True)
        single.send(prompt, max_new_tokens=24)
        single.finish()
        wrong += [i] if single.text() != client.text(i) else []
    return {"rows": rows, "wrong": wrong}


@case
def a_client_that_leaves() -> dict[str, Any]:
    client = Client(max_rows=1)
    first = client.send(HEAD, max_new_tokens=400, temperature=1.0)
    client.send(HEAD + "age", max_new_tokens=2)
    waiting = client.send(HEAD + "name", max_new_tokens=2)
    client.engine.step()
    waiting.is_gone = first.is_gone = True
    client.engine.step()
    rows = [row.number for row in client.engine._rows]
    client.finish()
    return {"rows": rows, "ended": client.ended, "unanswered": client.engine.unanswered}


@case
def refusals() -> dict[str, Any]:
    bodies = {
        "too long": {"prompt": "SELECT " * 600},
        "empty": {"prompt": ""},
        "no prompt": {},
        "stop": {"prompt": "a", "stop": [1]},
        "many stops": {"prompt": "a", "stop": [f"{i};" for i in range(17)]},
        "a long stop": {"prompt": "a", "stop": [";", "a" * 257]},
        "temperature": {"prompt": "a", "temperature": "warm"},
        "max_new_tokens": {"prompt": "a", "max_new_tokens": 0},
    }
    found = {}
    for name, body in bodies.items():
        try:
            read_request(body, TOKENIZER, CONTEXT)
        except RequestError as e:
            found[name] = [int(e.code), str(e)]
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    for name in sys.argv[1:] or CASES:
        try:
            results[name] = CASES[name]()
        except Exception:
            results[name] = {"error": traceback.format_exc()}
    print(json.dumps(results))
