"""The lab's hub, on its way to the client changed by a test: a hub that lies, or a network that damages."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from lab.hub import create_app
from lab.repositories import Commit, Repo

NAME = "team/data"
ROWS = "".join(
    json.dumps(
        {"question": f"How many in t{n}?", "context": f"CREATE TABLE t{n} (a INTEGER)", "answer": "SELECT 1"}
    )
    + "\n"
    for n in range(200)
).encode()


class LyingHub:
    """A hub with one dataset of one file, `train.jsonl`; each lie is an attribute that a test sets.

    Attributes:
        tree: Changes the entries of the list of files.
        body: Changes a file's content, after the headers were made of the right one.
        cut: Bytes of a file after which the connection breaks.
    """

    def __init__(self) -> None:
        self.tree: Callable[[list[dict[str, Any]]], object] = lambda entries: entries
        self.body: Callable[[bytes], bytes] = lambda content: content
        self.cut: int | None = None
        self.repos: dict[str, Repo] = {}
        self.commit = self.publish(ROWS)
        self._app = create_app(self.repos)

    def publish(self, rows: bytes) -> str:
        """Replace the repository by one with these rows; the commit's id."""
        commit = Commit("2026-11-01T00:00:00.000Z", "rows", {"train.jsonl": rows})
        self.repos[NAME] = Repo({"main": [commit]})
        return commit.sha

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        parts = scope["path"].split("/")
        messages: list[dict[str, Any]] = []

        async def keep(message: dict[str, Any]) -> None:
            messages.append(message)

        await self._app(scope, receive, keep)
        start, content = messages[0], b"".join(message.get("body", b"") for message in messages[1:])
        if start["status"] == 200 and "tree" in parts:
            content = json.dumps(self.tree(json.loads(content))).encode()
            self._set_length(start, len(content))
        elif start["status"] in (200, 206) and "resolve" in parts and scope["method"] == "GET":
            content = self.body(content)
            self._set_length(start, len(content))
            content = content[: self.cut]
        await send(start)
        await send({"type": "http.response.body", "body": content})

    @staticmethod
    def _set_length(start: dict[str, Any], length: int) -> None:
        others = [(name, value) for name, value in start["headers"] if name != b"content-length"]
        start["headers"] = [*others, (b"content-length", str(length).encode())]
