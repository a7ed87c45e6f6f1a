"""The comparison with the revision trained before, on a host, with the real huggingface_hub."""

from __future__ import annotations

import pytest

from include.node.fetch_dataset import changes_since
from lab.repositories import repositories
from lab.settings import REPO
from sqltune.dataset.hub import fetch
from sqltune.dataset.rows import read_rows
from sqltune.errors import CommitChanged, HubError, HubUnreachable
from sqltune.node_contracts.dataset import FetchRequest
from tests.conftest import serving
from tests.lying_hub import NAME, ROWS, LyingHub

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


def test_a_hub_that_does_not_answer_is_no_reason_to_compare_nothing(request_, rows, monkeypatch):
    """The limits of the data check would not be enforced."""
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    with pytest.raises(HubUnreachable, match="does not answer"):
        changes_since(request_.model_copy(update={"endpoint": "http://127.0.0.1:9"}), rows)


def test_an_earlier_commit_that_changed_under_the_same_id_is_refused(request_, rows, tmp_path):
    changes_since(request_, rows)
    known = tmp_path / "before" / "raw" / ".train.jsonl.id"
    known.write_text(f"7 bytes, git blob {'0' * 40}")
    with pytest.raises(CommitChanged, match="has changed under the same id"):
        changes_since(request_, rows)


@pytest.fixture
def lying():
    return LyingHub()


@pytest.fixture
def of_lying_hub(request_, lying):
    with serving(lying) as url:
        changed = {"repo": NAME, "endpoint": url, "previous_commit": lying.commit}
        yield request_.model_copy(update=changed)


def test_an_earlier_commit_that_arrives_damaged_is_an_error(of_lying_hub, lying, rows):
    lying.body = lambda _: ROWS.replace(b"SELECT 1", b"SELECT 2")
    with pytest.raises(HubError, match="arrived damaged"):
        changes_since(of_lying_hub, rows)


def test_earlier_rows_that_cannot_be_read_are_named_and_fail_nothing(of_lying_hub, lying, rows, capsys):
    """They are what they were: nobody can mend them, and no later revision could be trained."""
    commit = lying.publish(b"no JSON\n")
    assert changes_since(of_lying_hub.model_copy(update={"previous_commit": commit}), rows) is None
    assert "train.jsonl line 1: not JSON" in capsys.readouterr().out
