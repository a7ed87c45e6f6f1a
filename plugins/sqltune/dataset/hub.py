"""The dataset hub: a revision pinned to a commit, and files that are whole. Used by the plan and on the hosts."""

from __future__ import annotations

import fnmatch
import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqltune.errors import HubError, HubUnreachable

if TYPE_CHECKING:
    from huggingface_hub import HfApi


@dataclass(frozen=True)
class Pinned:
    """A commit of a dataset and its date."""

    commit: str
    date: datetime


def _api(endpoint: str) -> HfApi:
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint)


def pin(repo: str, revision: str, endpoint: str, as_of: datetime) -> Pinned:
    """The commit that `revision` means: the one named, or for '' the newest commit of main that is not younger than `as_of`.

    `HubError` names what exists when the repository or revision does not, and the endpoint when the hub does not answer.
    """
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    api = _api(endpoint)
    try:
        commits = api.list_repo_commits(repo, repo_type="dataset", revision=revision or "main")
    except RevisionNotFoundError:
        refs = api.list_repo_refs(repo, repo_type="dataset")
        there = f"branches: {', '.join(b.name for b in refs.branches) or 'none'}; tags: {', '.join(t.name for t in refs.tags) or 'none'}"
        newest = ", ".join(c.commit_id[:12] for c in api.list_repo_commits(repo, repo_type="dataset")[:5])
        raise HubError(
            f"dataset_revision: {revision!r} is not in {repo} ({there}; newest commits: {newest}): correct it in the trigger form"
        ) from None
    except RepositoryNotFoundError:
        raise HubError(
            f"dataset_repo: {repo!r} is not on {endpoint}, or may not be read without a token: correct it in the trigger form"
        ) from None
    except HfHubHTTPError as e:
        raise HubUnreachable(f"the hub at {endpoint} answered with an error: {e}") from e
    except Exception as e:
        # requests, httpx and sockets each have their own word for "not there".
        raise HubUnreachable(
            f"the hub at {endpoint} does not answer ({type(e).__name__}: {e}): check hub_endpoint and the proxy variables of the cluster file"
        ) from e
    if not commits:
        raise HubError(f"dataset_revision: {revision!r} of {repo} has no commit")
    if revision:
        return Pinned(commits[0].commit_id, commits[0].created_at)
    for commit in commits:
        if commit.created_at <= as_of:
            return Pinned(commit.commit_id, commit.created_at)
    oldest = commits[-1]
    raise HubError(
        f"dataset_revision: {repo} has no commit as of {as_of:%Y-%m-%d %H:%M} (the oldest is {oldest.commit_id[:12]} of {oldest.created_at:%Y-%m-%d}): name a revision, or choose a later date"
    )


def fetch(repo: str, commit: str, patterns: list[str], endpoint: str, target: Path) -> list[Path]:
    """Download the files of a pinned commit that match the first pattern with any match, and verify each by size and hash.

    Resumable: a file that is whole is not fetched again, a broken download goes on where it ended.
    """
    api = _api(endpoint)
    tree = [
        f
        for f in api.list_repo_tree(repo, repo_type="dataset", revision=commit, recursive=True)
        if hasattr(f, "blob_id")
    ]
    for pattern in patterns:
        wanted = [f for f in tree if fnmatch.fnmatch(f.path, pattern)]
        if wanted:
            break
    else:
        raise HubError(
            f"{repo} at {commit[:12]} has no file like {patterns} (it has {', '.join(f.path for f in tree)}): set dataset_files in the recipe"
        )
    found = []
    for file in wanted:
        path = target / file.path
        if not (
            path.is_file() and verified(path, file.size, file.blob_id, file.lfs.sha256 if file.lfs else None)
        ):
            # The client believes its own note of what it fetched before it believes the file.
            path.unlink(missing_ok=True)
            path = Path(
                api.hf_hub_download(repo, file.path, repo_type="dataset", revision=commit, local_dir=target)
            )
            if not verified(path, file.size, file.blob_id, file.lfs.sha256 if file.lfs else None):
                found_size = path.stat().st_size
                path.unlink()
                raise HubError(
                    f"{file.path} of {repo} at {commit[:12]} arrived damaged ({found_size} bytes, {file.size} wanted; or another hash) and was deleted: clear the task to fetch it again"
                )
        found.append(path)
    return found


def verified(path: Path, size: int, blob_id: str, sha256: str | None) -> bool:
    """Whether a file has the size and the hash that the hub's tree gives: sha256 for LFS files, git's blob id for others."""
    if path.stat().st_size != size:
        return False
    hasher = hashlib.sha256() if sha256 else hashlib.sha1(b"blob %d\0" % size)
    with path.open("rb") as f:
        while block := f.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest() == (sha256 or blob_id)
