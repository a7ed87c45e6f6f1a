"""What the lab's hub holds: dataset repositories, their branches, commits and files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from lab import dataset
from lab.settings import DATA, REPO

DUSQL = "jtjt520j/CSpider_and_DUSQL_sql_create_context"


@dataclass(frozen=True)
class Commit:
    """One commit: date (ISO 8601), title, and every file's bytes."""

    date: str
    title: str
    files: dict[str, bytes]

    @property
    def sha(self) -> str:
        tree = "".join(f"{blob_id(content)} {name}\n" for name, content in sorted(self.files.items()))
        return hashlib.sha1(f"{self.date}\n{self.title}\n{tree}".encode()).hexdigest()


@dataclass(frozen=True)
class Repo:
    """A dataset repository: each branch's commits, oldest first."""

    branches: dict[str, list[Commit]]

    def find(self, revision: str) -> tuple[list[Commit], int] | None:
        """A branch and where a revision stands on it: a branch's name, or a commit's id or the beginning of one."""
        branch = self.branches.get(revision.removeprefix("refs/heads/"))
        if branch:
            return branch, len(branch) - 1
        if len(revision) >= 7:
            for commits in self.branches.values():
                for number, commit in enumerate(commits):
                    if commit.sha.startswith(revision):
                        return commits, number
        return None


def blob_id(content: bytes) -> str:
    """git's id of a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def repositories() -> dict[str, Repo]:
    """The lab's data set in two commits of different dates, and a branch with a mistake in it; DuSQL's rows where their folder is (SQLTUNE_DATA)."""
    card = b"# text2sql_zh_en\n\nQuestions over small schemas, made by the lab.\n"
    main = [
        Commit(
            "2026-09-14T08:00:00.000Z",
            "40 tables",
            {"README.md": card, "train.jsonl": dataset.to_jsonl(dataset.rows(1)).encode()},
        ),
        Commit(
            "2026-10-12T08:00:00.000Z",
            "20 more tables",
            {"README.md": card, "train.jsonl": dataset.to_jsonl(dataset.rows(2)).encode()},
        ),
    ]
    # As the lab's recipes hold out.
    wrong = dataset.to_jsonl(dataset.mislabelled(dataset.rows(2), 20)).encode()
    slip = Commit(
        "2026-10-20T08:00:00.000Z",
        "answers shifted by one, by mistake",
        {"README.md": card, "train.jsonl": wrong},
    )
    repos = {REPO: Repo({"main": main, "mislabelled": [*main, slip]})}
    dusql = DATA / "hub_dataset" / "train.jsonl"
    if dusql.exists():
        repos[DUSQL] = Repo(
            {"main": [Commit("2026-09-01T08:00:00.000Z", "DuSQL", {"train.jsonl": dusql.read_bytes()})]}
        )
    return repos
