"""A local dataset hub that the real huggingface_hub client talks to through HF_ENDPOINT.

Branches, commits with dates, trees with git blob ids, files with ranges: the part of the Hub's HTTP API that a client needs
to pin a revision and to download it. Contents are made at the start and never change.

    python -m lab.hub HOST PORT
"""

from __future__ import annotations

import json
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lab.repositories import Commit, blob_id, repositories

REPOS = repositories()


def _missing(code: str, text: str) -> JSONResponse:
    """The Hub's 404, with the header from which its client makes the right exception."""
    return JSONResponse({"error": text}, 404, {"X-Error-Code": code, "X-Error-Message": text})


def _found(request: Request) -> tuple[list[Commit], int] | Response:
    repo = REPOS.get("{owner}/{name}".format(**request.path_params))
    if repo is None:
        return _missing("RepoNotFound", "Repository not found")
    found = repo.find(request.path_params.get("revision", "main"))
    return found or _missing("RevisionNotFound", f"Invalid rev id: {request.path_params['revision']}")


def info(request: Request) -> Response:
    """What a revision is."""
    found = _found(request)
    if isinstance(found, Response):
        return found
    branch, number = found
    commit = branch[number]
    name = "{owner}/{name}".format(**request.path_params)
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


def commits(request: Request) -> Response:
    """The history of a revision, newest first."""
    found = _found(request)
    if isinstance(found, Response):
        return found
    branch, number = found
    return JSONResponse(
        [
            {"id": c.sha, "title": c.title, "message": "", "date": c.date, "authors": [{"user": "lab"}]}
            for c in reversed(branch[: number + 1])
        ]
    )


def refs(request: Request) -> Response:
    """Branches."""
    if isinstance(found := _found(request), Response):
        return found
    branches = REPOS["{owner}/{name}".format(**request.path_params)].branches
    return JSONResponse(
        {
            "branches": [
                {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commits[-1].sha}
                for name, commits in branches.items()
            ],
            "converts": [],
            "tags": [],
        }
    )


def tree(request: Request) -> Response:
    """Files of a revision with sizes and ids."""
    found = _found(request)
    if isinstance(found, Response):
        return found
    branch, number = found
    return JSONResponse(
        [
            {"type": "file", "path": f, "size": len(c), "oid": blob_id(c)}
            for f, c in sorted(branch[number].files.items())
        ]
    )


def resolve(request: Request) -> Response:
    """A file, or the range of it that is asked for."""
    found = _found(request)
    if isinstance(found, Response):
        return found
    branch, number = found
    commit = branch[number]
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
    asked = request.headers.get("range", "")
    if asked.startswith("bytes="):
        begin, _, end = asked[6:].partition("-")
        first, last = int(begin or 0), min(int(end), len(content) - 1) if end else len(content) - 1
        if first >= len(content):
            return Response(status_code=416, headers={"Content-Range": f"bytes */{len(content)}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        content, status = content[first : last + 1], 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers | {"Content-Length": str(len(content))})
    return Response(content, status, headers)


def health(request: Request) -> Response:
    """What is there, for those who wait for it."""
    return Response(
        json.dumps(
            {
                name: {branch: [c.sha for c in commits] for branch, commits in repo.branches.items()}
                for name, repo in REPOS.items()
            }
        ),
        media_type="application/json",
    )


_REPO = "/api/datasets/{owner}/{name}"
app = Starlette(
    routes=[
        Route("/", health),
        Route(f"{_REPO}/revision/{{revision:path}}", info),
        Route(f"{_REPO}/commits/{{revision:path}}", commits),
        Route(f"{_REPO}/tree/{{revision}}", tree),
        Route(f"{_REPO}/tree/{{revision}}/{{path:path}}", tree),
        Route(f"{_REPO}/refs", refs),
        Route(_REPO, info),
        Route("/datasets/{owner}/{name}/resolve/{revision}/{path:path}", resolve, methods=["GET", "HEAD"]),
    ]
)

if __name__ == "__main__":
    uvicorn.run(app, host=sys.argv[1], port=int(sys.argv[2]), log_level="warning")
