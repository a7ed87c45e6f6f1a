"""What the batched engine does within its memory: rows that wait, begin again, and give it back."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from engine_client import CONTEXT, KEYS_OF_A_TOKEN, TOKENIZER, Client, alone, case
from small_model import HEAD, small_model, small_prompts

from batching import memory
from batching.requests import read_request
from batching.thread import EngineThread


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
