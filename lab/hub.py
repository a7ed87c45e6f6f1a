"""A local dataset hub that the real huggingface_hub client talks to through HF_ENDPOINT.

It implements the part of the Hub's HTTP API that a client needs to pin a revision and to download it:
branches and tags with an ETag, commits with dates, trees with git's blob ids, files with ranges. Its content
is created at the start; a test that serves an app of its own may replace a repository, as a push does.

    python -m lab.hub HOST PORT
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lab.repositories import Commit, Repo, blob_id, repositories

COMMITS_PER_PAGE = 50
"""As on the Hub."""


def _missing(code: str, text: str) -> JSONResponse:
    """The Hub's 404, with the header from which its client makes the right exception."""
    return JSONResponse({"error": text}, 404, {"X-Error-Code": code, "X-Error-Message": text})


def _name(request: Request) -> str:
    return "{owner}/{name}".format(**request.path_params)


def _of_repo(endpoint: Callable[[Request, Repo], Response]) -> Callable[[Request], Response]:
    """Turn a function of a repository into an endpoint that answers 404 for an unknown one."""

    def handle(request: Request) -> Response:
        repo = request.app.state.repos.get(_name(request))
        return endpoint(request, repo) if repo else _missing("RepoNotFound", "Repository not found")

    return handle


def _of_revision(endpoint: Callable[[Request, Sequence[Commit]], Response]) -> Callable[[Request], Response]:
    """Turn a function of a revision's history, oldest first, into an endpoint; the default is main."""

    def handle(request: Request, repo: Repo) -> Response:
        revision = request.path_params.get("revision", "main")
        history = repo.history(revision)
        return (
            endpoint(request, history)
            if history
            else _missing("RevisionNotFound", f"Invalid rev id: {revision}")
        )

    return _of_repo(handle)


@_of_revision
def info(request: Request, history: Sequence[Commit]) -> Response:
    """Describe a revision."""
    name, commit = _name(request), history[-1]
    return JSONResponse(
        {
            "id": name,
            "_id": name,
            "sha": commit.sha,
            "lastModified": commit.date,
            "private": False,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": [{"rfilename": f} for f in commit.files],
        }
    )


@_of_revision
def commits(request: Request, history: Sequence[Commit]) -> Response:
    """List the history of a revision, newest first, in pages."""
    page = int(request.query_params.get("p", 0))
    first, last = page * COMMITS_PER_PAGE, (page + 1) * COMMITS_PER_PAGE
    following = request.url.include_query_params(p=page + 1)
    return JSONResponse(
        [
            {"id": c.sha, "title": c.title, "message": "", "date": c.date, "authors": [{"user": "lab"}]}
            for c in history[::-1][first:last]
        ],
        headers={"Link": f'<{following}>; rel="next"'} if last < len(history) else {},
    )


@_of_repo
def refs(request: Request, repo: Repo) -> Response:
    """List branches and tags; 304 where the client has this very answer."""
    branches = [
        {"name": name, "ref": f"refs/heads/{name}", "targetCommit": history[-1].sha}
        for name, history in repo.branches.items()
    ]
    tags = [
        {"name": name, "ref": f"refs/tags/{name}", "targetCommit": sha} for name, sha in repo.tags.items()
    ]
    answer = JSONResponse({"branches": branches, "converts": [], "tags": tags})
    etag = f'W/"{blob_id(bytes(answer.body))}"'
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers={"ETag": etag})
    answer.headers["ETag"] = etag
    return answer


@_of_revision
def tree(request: Request, history: Sequence[Commit]) -> Response:
    """List the files of a revision with sizes and ids."""
    return JSONResponse(
        [
            {"type": "file", "path": path, "size": len(content), "oid": blob_id(content)}
            for path, content in sorted(history[-1].files.items())
        ]
    )


@_of_revision
def resolve(request: Request, history: Sequence[Commit]) -> Response:
    """Send a file, or the range of it that the request names."""
    commit = history[-1]
    content = commit.files.get(request.path_params["path"])
    if content is None:
        return _missing("EntryNotFound", "Entry not found")
    headers = {
        "ETag": f'"{blob_id(content)}"',
        "X-Repo-Commit": commit.sha,
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
    }
    status = 200
    if requested_range := _range(request.headers.get("range", ""), len(content)):
        first, last = requested_range
        if first >= len(content):
            return Response(status_code=416, headers={"Content-Range": f"bytes */{len(content)}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        content, status = content[first : last + 1], 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers | {"Content-Length": str(len(content))})
    return Response(content, status, headers)


def _range(header: str, size: int) -> tuple[int, int] | None:
    """First and last byte of a Range header; None without one."""
    if not header.startswith("bytes="):
        return None
    begin, _, end = header.removeprefix("bytes=").partition("-")
    return int(begin or 0), min(int(end), size - 1) if end else size - 1


def index(request: Request) -> Response:
    """List every repository's branches and commit ids; also a sign that the hub listens."""
    return JSONResponse(
        {
            name: {branch: [c.sha for c in history] for branch, history in repo.branches.items()}
            for name, repo in request.app.state.repos.items()
        }
    )


_REPO = "/api/datasets/{owner}/{name}"


def create_app(repos: Mapping[str, Repo]) -> Starlette:
    """Return a hub with these repositories, by owner/name."""
    app = Starlette(
        routes=[
            Route("/", index),
            Route(f"{_REPO}/revision/{{revision:path}}", info),
            Route(f"{_REPO}/commits/{{revision:path}}", commits),
            Route(f"{_REPO}/tree/{{revision}}", tree),
            Route(f"{_REPO}/tree/{{revision}}/{{path:path}}", tree),
            Route(f"{_REPO}/refs", refs),
            Route(_REPO, info),
            Route(
                "/datasets/{owner}/{name}/resolve/{revision}/{path:path}", resolve, methods=["GET", "HEAD"]
            ),
            Route("/{owner}/{name}/resolve/{revision}/{path:path}", resolve, methods=["GET", "HEAD"]),
        ]
    )
    app.state.repos = repos
    return app


if __name__ == "__main__":
    uvicorn.run(create_app(repositories()), host=sys.argv[1], port=int(sys.argv[2]), log_level="warning")
