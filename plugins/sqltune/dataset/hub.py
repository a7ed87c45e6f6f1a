"""The dataset hub: pin a revision to a commit, download files whole. Used by the plan and on the hosts."""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import os
import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sqltune import durable_files
from sqltune.errors import CommitChanged, CommitGone, DiskError, HubError, HubUnreachable, SqltuneError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import GitCommitInfo, RepoFile

BLOCK = 1 << 20
"""Bytes that are hashed at once."""
GIB = 1 << 30
WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What a write to an open file ends with; such an error names no file, as those of a connection."""
KEPT_ID = re.compile(r"\d+ bytes, (sha256 [0-9a-f]{64}|git blob [0-9a-f]{40})")
"""A whole `FileId` as text."""


@dataclass(frozen=True)
class Pinned:
    """A commit of a dataset.

    Attributes:
        commit: Its full id.
        date: When it was made.
    """

    commit: str
    date: datetime


def _api(endpoint: str) -> HfApi:
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint)


def pin(repo: str, revision: str, endpoint: str, as_of: datetime) -> Pinned:
    """Find the commit that a revision means.

    Args:
        repo: The dataset repository, as owner/name.
        revision: A branch, tag or commit; '' means the newest commit of main up to `as_of`.
        endpoint: Address of the hub.
        as_of: The time that '' refers to.

    Raises:
        HubError: the repository or revision does not exist; the message names what exists.
        HubUnreachable: the hub does not answer, or answers with an error; the message names the endpoint.
    """
    history = commits(repo, revision, endpoint)
    if not history:
        raise HubError(f"dataset_revision: {revision!r} of {repo} has no commit: name another revision")
    if revision:
        return Pinned(history[0].commit_id, history[0].created_at)
    for commit in history:
        if commit.created_at <= as_of:
            return Pinned(commit.commit_id, commit.created_at)
    oldest = history[-1]
    raise HubError(
        f"dataset_revision: {repo} has no commit as of {as_of:%Y-%m-%d %H:%M} (the oldest is "
        f"{oldest.commit_id[:12]} of {oldest.created_at:%Y-%m-%d}): name a revision, or choose a later date"
    )


def commits(repo: str, revision: str, endpoint: str) -> Sequence[GitCommitInfo]:
    """List the commits up to a revision, newest first.

    Raises:
        HubError: the repository or revision does not exist; the message names what exists.
        HubUnreachable: the hub does not answer, or answers with an error; the message names the endpoint.
    """
    from huggingface_hub.errors import RevisionNotFoundError

    api = _api(endpoint)
    with errors_of_hub(repo, endpoint):
        try:
            return api.list_repo_commits(repo, repo_type="dataset", revision=revision or "main")
        except RevisionNotFoundError:
            raise HubError(_unknown_revision(api, repo, revision)) from None


@contextmanager
def errors_of_hub(repo: str, endpoint: str) -> Iterator[None]:
    """Turn what huggingface_hub raises into errors that say what to do.

    Args:
        repo: The dataset repository that is asked for.
        endpoint: Address of the hub.
    """
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except SqltuneError:
        raise
    except RevisionNotFoundError:
        raise CommitGone(
            f"dataset_revision: {repo} on {endpoint} no longer has the commit: name another revision"
        ) from None
    except RepositoryNotFoundError:
        raise HubError(
            f"dataset_repo: {repo!r} is not on {endpoint}, or cannot be read without a token: correct it in "
            "the trigger form"
        ) from None
    except HfHubHTTPError as e:
        raise HubUnreachable(
            f"the hub at {endpoint} answered with an error ({e}): check hub_endpoint, or clear the task later"
        ) from e
    except Exception as e:
        # requests, httpx and sockets each have an exception of their own for a server that is not reached.
        raise HubUnreachable(
            f"the hub at {endpoint} does not answer ({type(e).__name__}: {e}): check hub_endpoint and the "
            "proxy variables of the cluster file"
        ) from e


@contextmanager
def _errors_of_disk(path: Path) -> Iterator[None]:
    """Turn what this machine's disk raises, and nothing else, into an error that names file and disk.

    Args:
        path: What is read or written, where the error names no file.
    """
    try:
        yield
    except OSError as e:
        if e.filename is None and e.errno not in WRITE_ERRORS:
            raise
        file = path if e.filename is None else Path(os.fsdecode(e.filename))
        disk = next(p for p in (file.absolute(), *file.absolute().parents) if os.path.ismount(p))
        usage = shutil.disk_usage(disk)
        raise DiskError(
            f"{file}: {e.strerror} ({usage.free / GIB:.1f} of {usage.total / GIB:.1f} GiB are free on the "
            f"disk at {disk}): make room there, or correct the path's owner and mode, then clear the task"
        ) from e


def _unknown_revision(api: HfApi, repo: str, revision: str) -> str:
    refs = api.list_repo_refs(repo, repo_type="dataset")
    branches, tags = (", ".join(ref.name for ref in group) or "none" for group in (refs.branches, refs.tags))
    newest = ", ".join(c.commit_id[:12] for c in api.list_repo_commits(repo, repo_type="dataset")[:5])
    return (
        f"dataset_revision: {revision!r} is not in {repo} (branches: {branches}; tags: {tags}; newest "
        f"commits: {newest}): correct it in the trigger form"
    )


def fetch(repo: str, commit: str, patterns: list[str], endpoint: str, target: Path) -> list[Path]:
    """Download files of a pinned commit, and verify each by size and hash.

    Resumable: a whole file is not fetched again, an interrupted download goes on where it ended. A commit
    never changes: its files' hashes are kept beside them, and must be the same each time.

    Args:
        repo: The dataset repository, as owner/name.
        commit: The commit's full id.
        patterns: Glob patterns; the files of the first one that matches any are fetched.
        endpoint: Address of the hub.
        target: Where the files go; used for this commit only.

    Raises:
        HubError: a file arrived damaged, or has a name that leads elsewhere.
        CommitGone: the hub has no such commit, or no file of it matches.
        CommitChanged: a file is another one than before.
        HubUnreachable: the hub does not answer, or answers with an error; the message names the endpoint.
        DiskError: a file cannot be read or written here.
    """
    api = _api(endpoint)
    with errors_of_hub(repo, endpoint):
        files = _select(api, repo, commit, patterns)
    with _errors_of_disk(target):
        return [_fetch_file(api, repo, commit, file, target) for file in files]


def _select(api: HfApi, repo: str, commit: str, patterns: list[str]) -> list[RepoFile]:
    from huggingface_hub.hf_api import RepoFile

    tree = api.list_repo_tree(repo, repo_type="dataset", revision=commit, recursive=True)
    files = [file for file in tree if isinstance(file, RepoFile)]
    for pattern in patterns:
        if selected := [file for file in files if fnmatch.fnmatch(file.path, pattern)]:
            return selected
    raise CommitGone(
        f"{repo} at {commit[:12]} has no file like {patterns} (it has {', '.join(f.path for f in files)}): "
        "set dataset_files in the recipe"
    )


def _fetch_file(api: HfApi, repo: str, commit: str, file: RepoFile, target: Path) -> Path:
    name = f"{file.path} of {repo} at {commit[:12]}"
    path = _inside(target, file.path, repo)
    stated = FileId.stated(file)
    kept = path.with_name(f".{path.name}.id")
    before = _whole_id(kept)
    if before not in (None, str(stated)):
        raise CommitChanged(
            f"{name} has changed under the same id (expected {before}, found {stated}): the hub, or what is "
            "between, is not to be trusted; ask the dataset's owner, and name another revision, or remove "
            f"{target} where the new one is right"
        )
    if not (path.is_file() and FileId.of(path, stated.kind) == stated):
        # The client trusts its own record of what it fetched more than the file.
        path.unlink(missing_ok=True)
        _download(api, repo, commit, path, target, f"{name} did not arrive whole (expected {stated})")
        if (found := FileId.of(path, stated.kind)) != stated:
            path.unlink()
            raise HubError(
                f"{name} arrived damaged (expected {stated}, found {found}) and was deleted: clear the task "
                "to fetch it again"
            )
    if before is None:
        durable_files.write(kept, str(stated).encode())
    return path


def _whole_id(file: Path) -> str | None:
    """The id that was kept of a file; None where there is none, or a power cut left only a part of it."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return text if KEPT_ID.fullmatch(text) else None


def _download(api: HfApi, repo: str, commit: str, path: Path, target: Path, problem: str) -> None:
    from huggingface_hub.errors import HfHubHTTPError

    name = path.relative_to(target).as_posix()
    with errors_of_hub(repo, api.endpoint):
        try:
            with _errors_of_disk(path):
                api.hf_hub_download(repo, name, repo_type="dataset", revision=commit, local_dir=target)
        except (HfHubHTTPError, DiskError):
            raise
        except Exception as e:  # a connection that breaks, or another size than announced
            raise HubUnreachable(
                f"{problem}: {type(e).__name__}: {e}; clear the task to go on with it"
            ) from e


def _inside(target: Path, name: str, repo: str) -> Path:
    """Where a file goes. The hub names it: its name must not lead elsewhere."""
    parts = name.split("/")
    encodable = name.encode(errors="ignore").decode() == name
    if not encodable or "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise HubError(
            f"{repo} has a file {name!r}, whose name is no path inside the repository: it was not fetched; "
            "name another dataset_repo or revision"
        )
    return target.joinpath(*parts)


@dataclass(frozen=True)
class FileId:
    """What tells whether a file is the one that a commit has."""

    size: int
    """Bytes."""
    kind: Literal["sha256", "git blob"]
    """The hash: SHA-256 for files in LFS, git's own for others."""
    digest: str
    """The hash, in hexadecimal."""

    def __str__(self) -> str:
        return f"{self.size} bytes, {self.kind} {self.digest}"

    @classmethod
    def stated(cls, file: RepoFile) -> FileId:
        """Return what the hub states of a file."""
        if file.lfs:
            return cls(file.size, "sha256", file.lfs.sha256)
        return cls(file.size, "git blob", file.blob_id)

    @classmethod
    def of(cls, path: Path, kind: Literal["sha256", "git blob"]) -> FileId:
        """Return what a file is."""
        size = path.stat().st_size
        hasher = hashlib.sha256() if kind == "sha256" else hashlib.sha1(b"blob %d\0" % size)
        with path.open("rb") as f:
            while block := f.read(BLOCK):
                hasher.update(block)
        return cls(size, kind, hasher.hexdigest())


def fetch_model_file(repo: str, name: str, endpoint: str, target: Path) -> Path:
    """Download one small file of a model, such as its tokenizer, of the newest commit.

    Args:
        repo: The model's repository, as owner/name.
        name: The file's path there.
        endpoint: Address of the hub.
        target: Where the file goes.

    Raises:
        HubError: The repository or the file does not exist, or cannot be read without a token.
        HubUnreachable: The hub does not answer, or answers with an error.
        DiskError: The file cannot be written here.
    """
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    with errors_of_hub(repo, endpoint), _errors_of_disk(target):
        try:
            return Path(_api(endpoint).hf_hub_download(repo, name, local_dir=target))
        except LocalEntryNotFoundError:
            # No answer of the hub: it cannot be reached, and the file was not downloaded before.
            raise
        except (EntryNotFoundError, GatedRepoError, RepositoryNotFoundError):
            raise HubError(
                f"base_model_repo: {repo!r} has no readable {name} on {endpoint}: correct it in the recipe, "
                "or remove it"
            ) from None
