"""A stand-in for vLLM's server, without a model.

Each word of a prompt is a token. An answer has the tokens " a0 a1 a2 …", as many as `max_tokens` says, or up
to the first stop text. Some prompts are special:

    wait   answers once its client has left, and notes that
    fail   answers with a server's error
    die    ends the server

What it is asked is noted in `requests.jsonl` of the current folder, its processes in `pids`. It listens once
there is a file `open` there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

CONTEXT = 50
app = FastAPI()


def note(entry: dict[str, Any]) -> None:
    with Path("requests.jsonl").open("a") as file:
        file.write(json.dumps(entry) + "\n")


@app.get("/v1/models")
async def models() -> dict[str, Any]:
    return {"data": [{"id": "model", "max_model_len": CONTEXT}]}


@app.post("/v1/load_lora_adapter")
async def load_lora_adapter(request: Request) -> Response:
    body = await request.json()
    note({"load": body})
    if "broken" in body["lora_name"]:
        return error(400, "no room for the adapter")
    return Response("loaded")


@app.post("/v1/unload_lora_adapter")
async def unload_lora_adapter(request: Request) -> Response:
    note({"unload": await request.json()})
    return Response("unloaded")


@app.post("/tokenize")
async def tokenize(request: Request) -> dict[str, Any]:
    return {"count": len((await request.json())["prompt"].split()), "max_model_len": CONTEXT}


def error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "code": status}}, status)


@app.post("/v1/completions")
async def completions(request: Request) -> Response:
    body = await request.json()
    note(body)
    words = body["prompt"].split()
    if not words or len(words) + body["max_tokens"] > CONTEXT:
        return error(400, f"cannot answer {len(words)} tokens with {body['max_tokens']}")
    if words == ["die"]:
        os._exit(3)
    if words == ["fail"]:
        return error(500, "the engine is dead")
    if words == ["wait"]:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        note({"left": True})
        return Response()
    return _answer(body, len(words))


def _answer(body: dict[str, Any], prompt: int) -> Response:
    tokens = [f" a{number}" for number in range(body["max_tokens"])]
    stopped = [at for at, token in enumerate(tokens) if token.strip() in body["stop"]]
    if stopped:
        tokens = tokens[: stopped[0]]
    reason = "stop" if stopped else "length"
    if not body.get("stream"):
        return JSONResponse(_piece(body, tokens, 0, len(tokens), prompt, reason))

    async def events() -> AsyncIterator[str]:
        for at, _ in enumerate(tokens):
            end = reason if at == len(tokens) - 1 else None
            yield f"data: {json.dumps(_piece(body, tokens, at, at + 1, prompt, end))}\n\n"
        yield f"data: {json.dumps({'choices': [], 'usage': {}})}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


def _piece(
    body: dict[str, Any], tokens: list[str], start: int, end: int, prompt: int, reason: str | None
) -> dict[str, Any]:
    new = tokens[start:end]
    logprobs = {
        "tokens": new,
        "token_logprobs": [-0.5] * len(new),
        "text_offset": [len("".join(tokens[:at])) for at in range(start, end)],
        "top_logprobs": [{token: -0.5} for token in new],
    }
    choice = {
        "text": (body["prompt"] if body["echo"] and not start else "") + "".join(new),
        "finish_reason": reason,
        "logprobs": None if body["logprobs"] is None else logprobs,
    }
    usage = {"prompt_tokens": prompt, "completion_tokens": end, "total_tokens": prompt + end}
    return {"choices": [choice], "usage": usage}


if __name__ == "__main__":
    # vLLM's engine is a process of its own, which does not end with its parent.
    engine = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    # Whole from the moment that it is there.
    Path("pids.new").write_text(json.dumps([os.getpid(), engine.pid]))
    Path("pids.new").rename("pids")
    parser = argparse.ArgumentParser()
    parser.add_argument("--uds")
    options, _ = parser.parse_known_args()
    while not Path("open").exists():
        time.sleep(0.02)
    uvicorn.run(app, uds=options.uds, log_level="warning")
