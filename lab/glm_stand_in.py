"""A stand-in for the hosted GLM, used where no key for the real one is set; its answers are labelled as such.

It implements the part of the API that zhipuai's client uses. It is not a model: it answers every prompt by
counting the rows of the first table in it.

    python -m lab.glm_stand_in PORT
"""

from __future__ import annotations

import re
import sys
import time

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def completions(request: Request) -> JSONResponse:
    """Answer a chat completion."""
    body = await request.json()
    prompt = body["messages"][-1]["content"]
    table = re.search(r"CREATE TABLE (\S+)", prompt)
    text = f"```sql\nSELECT COUNT(*) FROM {table[1] if table else 'unknown'};\n```"
    return JSONResponse(
        {
            "id": "stand-in",
            "created": int(time.time()),
            "model": body["model"],
            "request_id": "stand-in",
            "choices": [
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            ],
            "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        }
    )


async def health(request: Request) -> JSONResponse:
    """Answer 200, for those who wait until it listens."""
    return JSONResponse({"stand-in": True})


app = Starlette(
    routes=[Route("/", health), Route("/api/paas/v4/chat/completions", completions, methods=["POST"])]
)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
