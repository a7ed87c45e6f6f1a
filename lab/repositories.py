"""What the lab's hub holds: dataset repositories, their branches, commits and files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab import dataset
from lab.settings import BASE, DATA, REPO

DUSQL = "jtjt520j/CSpider_and_DUSQL_sql_create_context"
README = b"# text2sql_zh_en\n\nQuestions over small schemas, made by the lab.\n"
HELD_OUT_PERCENT = 20
"""Share of the databases that the lab's recipes hold out."""
OWNER = REPO.partition("/")[0]
MODEL_FILES = ("config.json", "tokenizer.json")
"""Files of a base model that the hub has."""
SHORTEST_ID = 7
"""Characters that an abbreviated commit id has at least."""


@dataclass(frozen=True)
class Commit:
    """A commit.

    Attributes:
        date: In ISO 8601.
        title: The first line of its message.
        files: Each file's content, by path.
    """

    date: str
    title: str
    files: Mapping[str, bytes]

    @property
    def sha(self) -> str:
        """Its id."""
        tree = "".join(f"{blob_id(content)} {name}\n" for name, content in sorted(self.files.items()))
        return hashlib.sha1(f"{self.date}\n{self.title}\n{tree}".encode()).hexdigest()


@dataclass(frozen=True)
class Repo:
    """A dataset repository.

    Attributes:
        branches: Each branch's commits, oldest first.
        tags: The commit's id that each tag is on.
    """

    branches: Mapping[str, Sequence[Commit]]
    tags: Mapping[str, str] = field(default_factory=dict)

    def history(self, revision: str) -> Sequence[Commit] | None:
        """The commits up to a revision, oldest first; None if no such revision exists.

        Args:
            revision: A branch, with or without refs/heads/, or a commit's id, which may be abbreviated.
        """
        branch = self.branches.get(revision.removeprefix("refs/heads/"))
        if branch or len(revision) < SHORTEST_ID:
            return branch
        for commits in self.branches.values():
            for number, commit in enumerate(commits, 1):
                if commit.sha.startswith(revision):
                    return commits[:number]
        return None


def blob_id(content: bytes) -> str:
    """The id that git gives a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def repositories() -> dict[str, Repo]:
    """The lab's dataset, DuSQL's rows if they are in the data folder (SQLTUNE_DATA), and its base models."""
    repos = {REPO: _lab_dataset(), **_base_models()}
    dusql = DATA / "hub_dataset" / "train.jsonl"
    if dusql.exists():
        commit = Commit("2026-09-01T08:00:00.000Z", "DuSQL", {"train.jsonl": dusql.read_bytes()})
        repos[DUSQL] = Repo({"main": [commit]})
    return repos


def _base_models() -> dict[str, Repo]:
    """Shape and tokenizer of each base model that was made; no weights."""
    return {
        f"{OWNER}/{folder.name}": Repo({"main": [_base_model(folder)]})
        for folder in sorted((BASE / "models").glob("*"))
        if all((folder / name).is_file() for name in MODEL_FILES)
    }


def _base_model(folder: Path) -> Commit:
    files = {name: (folder / name).read_bytes() for name in MODEL_FILES}
    return Commit("2026-09-01T08:00:00.000Z", folder.name, files)


def _lab_dataset() -> Repo:
    """Two commits of different dates on main, and two branches with a mistake each."""
    first, second = dataset.rows(1), dataset.rows(2)
    main = [
        _commit("2026-09-14T08:00:00.000Z", "40 tables", first),
        _commit("2026-10-12T08:00:00.000Z", "20 more tables", second),
    ]
    wrong = dataset.mislabelled(second, HELD_OUT_PERCENT)
    mistake = _commit("2026-10-20T08:00:00.000Z", "answers shifted by one, by mistake", wrong)
    loss = _commit("2026-10-21T08:00:00.000Z", "a third of the rows lost", second[: 2 * len(second) // 3])
    return Repo({"main": main, "mislabelled": [*main, mistake], "truncated": [*main, loss]})


def _commit(date: str, title: str, rows: list[dict[str, str]]) -> Commit:
    return Commit(date, title, {"README.md": README, "train.jsonl": dataset.to_jsonl(rows).encode()})
