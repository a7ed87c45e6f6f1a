"""The history of a dataset's branch: whether it has moved, and the commits up to where it was read before."""

from __future__ import annotations

from typing import Any

from sqltune.config.base import digest
from sqltune.dataset import hub
from sqltune.errors import HubError
from sqltune.records import revisions
from sqltune.records.revisions import Commit, Feed, Reading, Source, Watermark

TIMEOUT = 20
"""Seconds that the hub has for an answer about branches and tags."""
OWN = "own:"
"""Marks the hash that stands in for the ETag of a hub that sends none."""


def follow(feed: Feed, endpoint: str, source: Source) -> list[str]:
    """Record the commits that have come since the feed was read last; return those that wait since now.

    It may be killed at any moment, and may run in two processes: a commit is recorded once, and none is left
    out.

    Args:
        feed: The branch.
        endpoint: Address of the hub.
        source: Who is reading.

    Raises:
        HubError: The repository or the branch does not exist.
        HubUnreachable: The hub does not answer.
    """
    return revisions.observe(feed, read(feed, endpoint, revisions.watermark(feed)), source)


def read(feed: Feed, endpoint: str, since: Watermark) -> Reading:
    """Ask the hub where the branch is; list its commits only if it or a tag has moved.

    Args:
        feed: The branch.
        endpoint: Address of the hub.
        since: How far it was read before.

    Raises:
        HubError: The repository or the branch does not exist.
        HubUnreachable: The hub does not answer.
    """
    refs, etag = _refs(feed.dataset_repo, endpoint, since.etag)
    if refs is None or etag == since.etag:
        return Reading(commits=None, read_from=since.head)
    # By the commit's id, not by the branch's name: the branch may move again between the two requests.
    history = hub.commits(feed.dataset_repo, _head(refs, feed), endpoint)
    return Reading(
        commits=[_commit(info) for info in reversed(history)],
        tags=_tags(refs),
        etag=etag,
        read_from=since.head,
    )


def _refs(repo: str, endpoint: str, etag: str | None) -> tuple[Any, str | None]:
    """The hub's answer about branches and tags, and its ETag; None where it says that nothing has changed.

    `HfApi.list_repo_refs` can't send the ETag of the answer before; this is the same request with it.
    """
    # They are documented there, but not marked as exported.
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        build_hf_headers,
        get_session,
        hf_raise_for_status,
    )

    headers = build_hf_headers()
    if etag and not etag.startswith(OWN):
        headers["If-None-Match"] = etag
    with hub.errors_of_hub(repo, endpoint):
        answer = get_session().get(f"{endpoint}/api/datasets/{repo}/refs", headers=headers, timeout=TIMEOUT)
        if answer.status_code == 304:
            return None, etag
        hf_raise_for_status(answer)
        refs = answer.json()
    return refs, answer.headers.get("etag") or OWN + digest(refs)


def _head(refs: Any, feed: Feed) -> str:
    heads = {ref["name"]: ref["targetCommit"] for ref in refs["branches"]}
    if feed.branch not in heads:
        raise HubError(
            f"branch {feed.branch!r} is not in {feed.dataset_repo} (branches: {', '.join(sorted(heads))}): "
            "create it on the hub"
        )
    return str(heads[feed.branch])


def _tags(refs: Any) -> dict[str, list[str]]:
    tags: dict[str, list[str]] = {}
    for ref in refs["tags"]:
        tags.setdefault(ref["targetCommit"], []).append(ref["name"])
    return tags


def _commit(info: Any) -> Commit:
    return Commit(info.commit_id, info.created_at, ", ".join(info.authors), info.title)
