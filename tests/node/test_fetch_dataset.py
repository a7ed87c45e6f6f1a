"""The comparison with the revision trained before, on a host, with the real huggingface_hub."""

from __future__ import annotations

import pytest

from include.node.fetch_dataset import changes_since
from lab.repositories import repositories
from lab.settings import REPO
from sqltune.dataset.hub import fetch
from sqltune.dataset.rows import read_rows
from sqltune.node_contracts.dataset import FetchRequest

GONE = "0" * 40


@pytest.fixture
def request_(hub, tmp_path):
    history = [commit.sha for commit in repositories()[REPO].branches["main"]]
    return FetchRequest(
        repo=REPO,
        commit=history[-1],
        files=["*.jsonl"],
        endpoint=hub,
        folder=str(tmp_path / "now"),
        split_dir=str(tmp_path / "split"),
        percent=10,
        questions=12,
        previous_commit=history[0],
        previous_folder=str(tmp_path / "before"),
        max_length=512,
        base_model="unused",
    )


@pytest.fixture
def rows(request_, tmp_path):
    return list(read_rows(fetch(REPO, request_.commit, request_.files, request_.endpoint, tmp_path / "now")))


def test_the_rows_are_compared_with_those_of_the_commit_before(request_, rows):
    changes = changes_since(request_, rows)
    assert changes.since == request_.previous_commit
    assert changes.added > 0


def test_the_first_revision_is_compared_with_nothing(request_, rows):
    assert changes_since(request_.model_copy(update={"previous_commit": None}), rows) is None


def test_a_commit_that_the_hub_no_longer_has_is_named_and_fails_nothing(request_, rows, capsys):
    """Its owner may have rewritten the branch."""
    assert changes_since(request_.model_copy(update={"previous_commit": GONE}), rows) is None
    assert f"not compared with {GONE[:12]}, the revision trained before:" in capsys.readouterr().out


def test_a_commit_without_the_recipes_files_is_named_and_fails_nothing(request_, rows, capsys):
    changed = request_.model_copy(update={"files": ["*.parquet"]})
    assert changes_since(changed, rows) is None
    assert "has no file like ['*.parquet']" in capsys.readouterr().out
