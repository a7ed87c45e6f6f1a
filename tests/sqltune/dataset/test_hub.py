"""Pinned downloads with the real huggingface_hub: verified, resumable, never partial."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lab.settings import REPO
from sqltune.dataset.hub import FileId, fetch, fetch_model_file, pin
from sqltune.errors import DiskError, HubError, HubUnreachable


@pytest.fixture
def commit(hub):
    return pin(REPO, "", hub, datetime(2026, 11, 1, tzinfo=UTC)).commit


def test_the_pinned_commit_is_what_arrives(hub, commit, tmp_path):
    from lab.repositories import repositories

    (file,) = fetch(REPO, commit, ["*.jsonl"], hub, tmp_path)
    assert file.read_bytes() == repositories()[REPO].branches["main"][-1].files["train.jsonl"]


def test_a_damaged_file_is_fetched_again(hub, commit, tmp_path):
    (file,) = fetch(REPO, commit, ["*.jsonl"], hub, tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + b"?")
    (again,) = fetch(REPO, commit, ["*.jsonl"], hub, tmp_path)
    assert again.read_bytes() == whole


def test_a_whole_file_is_not_fetched_again(hub, commit, tmp_path):
    (file,) = fetch(REPO, commit, ["*.jsonl"], hub, tmp_path)
    before = file.stat().st_mtime_ns
    fetch(REPO, commit, ["*.jsonl"], hub, tmp_path)
    assert file.stat().st_mtime_ns == before


def test_the_kept_id_of_a_file_is_written_once(hub, commit, tmp_path):
    fetch(REPO, commit, ["*.jsonl"], hub, tmp_path)
    known = tmp_path / ".train.jsonl.id"
    before = known.stat()
    fetch(REPO, commit, ["*.jsonl"], hub, tmp_path)
    assert (known.stat().st_ino, known.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(
    "left", [b"", b"\0" * 70, b"3001 bytes, git bl", b"\xff"], ids=["empty", "zeros", "cut", "bytes"]
)
def test_an_id_of_which_a_power_cut_left_a_part_counts_as_absent(hub, commit, tmp_path, left):
    fetch(REPO, commit, ["*.jsonl"], hub, tmp_path)
    known = tmp_path / ".train.jsonl.id"
    whole = known.read_bytes()
    known.write_bytes(left)
    fetch(REPO, commit, ["*.jsonl"], hub, tmp_path)
    assert known.read_bytes() == whole


def test_an_id_is_never_seen_in_parts(hub, commit, tmp_path):
    """Another run that fetches the same commit may read it at any moment."""
    known = tmp_path / ".train.jsonl.id"
    known.touch()
    with known.open() as opened_before:
        fetch(REPO, commit, ["*.jsonl"], hub, tmp_path)
        assert opened_before.read() == ""
    assert "git blob" in known.read_text()
    assert {p.name for p in tmp_path.iterdir() if p.is_file()} == {known.name, "train.jsonl"}


def test_no_such_file(hub, commit, tmp_path):
    with pytest.raises(
        HubError, match=r"has no file like \['\*.parquet'\] \(it has README.md, train.jsonl\)"
    ):
        fetch(REPO, commit, ["*.parquet"], hub, tmp_path)


def test_a_file_of_a_model_that_cannot_be_had_is_the_recipes_fault(hub, tmp_path):
    with pytest.raises(HubError, match=r"base_model_repo: 'no/body' has no readable config.json on .*recipe"):
        fetch_model_file("no/body", "config.json", hub, tmp_path)


def test_a_hub_that_does_not_answer_is_not_the_recipes_fault(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    with pytest.raises(HubUnreachable, match=r"the hub at http://127.0.0.1:9 does not answer.*hub_endpoint"):
        fetch_model_file("no/body", "config.json", "http://127.0.0.1:9", tmp_path)


def test_a_folder_that_cannot_be_written_is_not_the_hubs_fault(hub, tmp_path):
    taken = tmp_path / "taken"
    taken.touch()
    with pytest.raises(DiskError, match=r"taken.*make room there, or correct the path's owner and mode"):
        fetch_model_file("sqltune-lab/tiny", "config.json", hub, taken)


def test_a_files_id_is_that_of_git_and_of_lfs(tmp_path):
    file = tmp_path / "f"
    file.write_bytes(b"hello\n")
    # git hash-object; sha256sum
    assert str(FileId.of(file, "git blob")) == "6 bytes, git blob ce013625030ba8dba906f756967f9e9ca394464a"
    assert (
        FileId.of(file, "sha256").digest == "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    )
