"""The hub's webhook: a push to the watched branch makes the watcher look at once, instead of within a minute.

An app of its own beside the page's API, which changes nothing. It is there only where SQLTUNE_WEBHOOK_SECRET
is set. It believes nothing of what it is told but that something may have moved: the watcher asks the hub
itself, so a request that is repeated or invented costs one question to the hub.
"""

from __future__ import annotations

import hmac
import json
from typing import Annotated, Any

from fastapi import BackgroundTasks, FastAPI, Header, HTTPException, Request
from pydantic import BaseModel

from sqltune import environment
from sqltune.config.watched import Watched, watched
from sqltune.records import revisions
from sqltune.records.revisions import Feed

VARIABLE = "SQLTUNE_WEBHOOK_SECRET"
BODY_LIMIT = 64 * 1024
"""Bytes of a request; the hub's have about one thousand."""
BRANCHES, TAGS = "refs/heads/", "refs/tags/"


class Answer(BaseModel):
    """What a request has led to."""

    accepted: bool
    """Whether the watcher looks at the hub now."""
    reason: str


def create_webhook() -> FastAPI | None:
    """Return the app, or None where SQLTUNE_WEBHOOK_SECRET is not set."""
    secret = environment.secret(VARIABLE)
    if not secret:
        return None
    app = FastAPI(title="sqltune webhook", version="1", docs_url=None, redoc_url=None, openapi_url=None)

    @app.post("/v1/hub", status_code=202)
    async def hub(
        request: Request,
        background: BackgroundTasks,
        x_webhook_secret: Annotated[str, Header(description="The secret that was entered on the hub.")] = "",
    ) -> Answer:
        """Take the hub's message that a repository has changed; docs/revisions.md says how to set it up."""
        if not hmac.compare_digest(x_webhook_secret.encode(), secret.encode()):
            raise HTTPException(401, f"X-Webhook-Secret is not the value of {VARIABLE}")
        message = _json(await _body(request))
        dataset = watched()
        reason = "nothing is watched" if dataset is None else _reason_to_ignore(message, dataset)
        if dataset is None or reason:
            return Answer(accepted=False, reason=reason)
        # After the answer: the hub waits for nobody's database.
        background.add_task(
            revisions.ask, Feed(dataset.cluster, dataset.recipe, dataset.dataset_repo, dataset.branch)
        )
        return Answer(accepted=True, reason="the watcher looks at the hub")

    return app


async def _body(request: Request) -> bytes:
    """The request's body; refused as soon as it is longer than the limit."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            raise HTTPException(413, f"the body has more than {BODY_LIMIT} bytes")
    return body


def _json(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body is not JSON: expected a message of the hub") from None
    if not isinstance(message, dict):
        raise HTTPException(400, "the body is not a JSON object: expected a message of the hub")
    return message


def _reason_to_ignore(message: dict[str, Any], dataset: Watched) -> str:
    """Why a message does not concern the watched branch; empty where it does."""
    repo = message.get("repo")
    if not isinstance(repo, dict) or (repo.get("type"), repo.get("name")) != (
        "dataset",
        dataset.dataset_repo,
    ):
        return f"it is not about the dataset {dataset.dataset_repo}"
    updated = message.get("updatedRefs")
    refs = [ref.get("ref") for ref in updated if isinstance(ref, dict)] if isinstance(updated, list) else []
    if not any(ref == BRANCHES + dataset.branch or str(ref).startswith(TAGS) for ref in refs):
        return f"neither {dataset.branch} nor a tag was updated"
    return ""
