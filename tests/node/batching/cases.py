"""What the batched engine does with a small model, as JSON; `test_engine` runs it in the node environment.

python cases.py [NAME ...]
"""

from __future__ import annotations

import itertools
import json
import random
import sys
import traceback
from typing import Any

import adapter_cases  # noqa: F401 # its cases register themselves
import failure_cases  # noqa: F401 # the same
import memory_cases  # noqa: F401 # the same
import torch
from accelerate import dispatch_model
from engine_client import CASES, CONTEXT, TOKENIZER, Client, alone, case
from fastchat.serve.inference import generate_stream
from small_model import HEAD, small_model, small_prompts

from batching.requests import RequestError, read_request


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
