"""The lab's hub with one repository that a test pushes to."""

from __future__ import annotations

from typing import Any

from lab.hub import create_app
from lab.repositories import Commit, Repo

NAME = "team/data"


class ChangingHub:
    """A hub with one repository, to push to; it counts the requests that it gets."""

    def __init__(self, name: str = NAME) -> None:
        self.name = name
        self.commits: list[Commit] = []
        self.tags: dict[str, str] = {}
        self.repos: dict[str, Repo] = {}
        self.paths: list[str] = []
        self.app = create_app(self.repos)
        self.url = ""

    def push(self, *titles: str) -> None:
        """Add a commit for each title to main."""
        for title in titles:
            hours, minutes = divmod(len(self.commits), 60)
            date = f"2026-11-01T{hours:02d}:{minutes:02d}:00.000Z"
            self.commits.append(Commit(date, title, {}))
        self.publish()

    def publish(self) -> None:
        """Show commits and tags as they are now."""
        self.repos[self.name] = Repo({"main": list(self.commits)}, dict(self.tags))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.paths.append(scope["path"].removeprefix(f"/api/datasets/{self.name}/").split("/")[0])
        await self.app(scope, receive, send)
