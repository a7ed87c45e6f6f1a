"""A hub that lies about a file, with the real huggingface_hub: nothing wrong is left to train on."""

from __future__ import annotations

import hashlib
import os
import subprocess

import pytest

from lab.repositories import blob_id
from sqltune.dataset.hub import fetch
from sqltune.dataset.rows import read_rows
from sqltune.errors import CommitChanged, DatasetError, DiskError, HubError, HubUnreachable
from tests.conftest import serving
from tests.lying_hub import NAME, ROWS, LyingHub

WRONG = ROWS.replace(b"SELECT 1", b"SELECT 2")
SHA256 = hashlib.sha256(ROWS).hexdigest()


@pytest.fixture
def lying():
    return LyingHub()


@pytest.fixture
def get(lying, tmp_path):
    """Fetch the commit's files."""
    with serving(lying) as url:
        yield lambda: fetch(NAME, lying.commit, ["*.jsonl"], url, tmp_path / "raw")


def lfs(sha256: str = SHA256, size: int = len(ROWS)):
    """Entries that say the file is in LFS."""
    pointer = {"oid": sha256, "size": size, "pointerSize": 130}
    return lambda entries: [entry | {"lfs": pointer, "size": size} for entry in entries]


def files_below(tmp_path) -> list[str]:
    """What may be trained on: the client's own records are in a hidden folder."""
    return [p.name for p in tmp_path.rglob("*.jsonl") if ".cache" not in p.parts]


@pytest.mark.parametrize("tree", [lambda entries: entries, lfs()], ids=["git", "lfs"])
def test_a_hub_that_tells_the_truth_is_believed(lying, get, tree):
    lying.tree = tree
    [file] = get()
    assert file.read_bytes() == ROWS
    assert get() == [file]


def test_content_of_another_git_hash_is_refused(lying, get, tmp_path):
    lying.body = lambda _: WRONG
    with pytest.raises(HubError) as e:
        get()
    message = str(e.value)
    assert "train.jsonl of team/data" in message
    assert f"expected {len(ROWS)} bytes, git blob {blob_id(ROWS)}" in message
    assert f"found {len(ROWS)} bytes, git blob {blob_id(WRONG)}" in message
    assert files_below(tmp_path) == []


def test_content_of_another_sha256_is_refused(lying, get, tmp_path):
    lying.tree, lying.body = lfs(), lambda _: WRONG
    with pytest.raises(HubError) as e:
        get()
    assert f"expected {len(ROWS)} bytes, sha256 {SHA256}" in str(e.value)
    assert f"found {len(ROWS)} bytes, sha256 {hashlib.sha256(WRONG).hexdigest()}" in str(e.value)
    assert files_below(tmp_path) == []


def test_an_sha256_that_is_no_hash_of_the_content_is_refused(lying, get):
    lying.tree = lfs(sha256="0" * 64)
    with pytest.raises(HubError, match=f"sha256 {'0' * 64}.*sha256 {SHA256}"):
        get()


@pytest.mark.parametrize("size", [0, len(ROWS) - 1, len(ROWS) + 1])
def test_another_size_than_the_list_says_is_refused(lying, get, tmp_path, size):
    lying.tree = lambda entries: [entry | {"size": size} for entry in entries]
    with pytest.raises(HubError, match=f"train.jsonl.*expected {size} bytes.*found {len(ROWS)} bytes"):
        get()
    assert files_below(tmp_path) == []


def test_content_that_is_longer_or_shorter_than_announced_is_refused(lying, get, tmp_path):
    for lying.body in (lambda content: content[:-7]), (lambda content: content + b"{}\n"):
        with pytest.raises(HubError, match="train.jsonl"):
            get()
        assert files_below(tmp_path) == []


def test_a_connection_that_breaks_within_a_file_leaves_none(lying, get, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    lying.cut = len(ROWS) // 2
    with pytest.raises(HubUnreachable) as e:
        get()
    assert f"train.jsonl of team/data at {lying.commit[:12]} did not arrive whole" in str(e.value)
    assert f"expected {len(ROWS)} bytes, git blob {blob_id(ROWS)}" in str(e.value)
    assert "received 9890 bytes" in str(e.value)
    assert files_below(tmp_path) == []
    lying.cut = None
    [file] = get()
    assert file.read_bytes() == ROWS


def test_a_commit_that_changes_under_the_same_id_is_refused(lying, get):
    """The id is a hash of the content: the hub, or somebody in between, serves another."""
    [file] = get()
    sha = lying.commit
    lying.publish(WRONG)
    lying.repos[NAME] = Renamed(lying.repos[NAME], sha)
    with pytest.raises(CommitChanged) as e:
        get()
    assert f"train.jsonl of team/data at {sha[:12]} has changed under the same id" in str(e.value)
    assert f"expected {len(ROWS)} bytes, git blob {blob_id(ROWS)}" in str(e.value)
    assert f"found {len(WRONG)} bytes, git blob {blob_id(WRONG)}" in str(e.value)
    assert f"remove {file.parent}" in str(e.value)
    assert file.read_bytes() == ROWS


class Renamed:
    """A repository that shows its only commit under another id."""

    def __init__(self, repo, sha: str) -> None:
        self._repo, self._sha = repo, sha

    def history(self, revision: str):
        return self._repo.history("main") if revision == self._sha else None


@pytest.mark.parametrize(
    "path",
    ["../../outside.jsonl", "/tmp/outside.jsonl", "a/../../outside.jsonl", "..\\x.jsonl", "\ud800.jsonl"],
)
def test_a_path_that_leads_out_of_the_folder_is_refused(lying, get, tmp_path, path):
    outside = tmp_path / "outside.jsonl"
    outside.write_bytes(b"mine\n")
    lying.tree = lambda entries: [entry | {"path": path} for entry in entries]
    with pytest.raises(HubError) as e:
        get()
    assert repr(path) in str(e.value)
    assert outside.read_bytes() == b"mine\n"


@pytest.mark.parametrize(
    "entries", [[], [{"type": "file", "path": "train.jsonl"}], {"error": "?"}, [{"path": 3}]], ids=str
)
def test_a_list_of_files_that_is_none_is_an_error_of_the_hub(lying, get, entries):
    lying.tree = lambda _: entries
    with pytest.raises(HubError, match="team/data|hub at"):
        get()


@pytest.mark.parametrize("in_the_way", ["raw/train.jsonl/", "raw/.cache", "raw"])
def test_what_lies_in_the_way_on_the_disk_is_no_error_of_the_hub(get, tmp_path, in_the_way):
    """Before the download, in it, and where its folder should be."""
    path = tmp_path / in_the_way
    path.parent.mkdir(exist_ok=True)
    path.mkdir() if in_the_way.endswith("/") else path.touch()
    with pytest.raises(
        DiskError, match=r"GiB are free on the disk at /.*correct the path's owner and mode"
    ) as e:
        get()
    assert str(e.value).startswith(str(path))
    assert "hub" not in str(e.value).partition(": ")[2]


@pytest.mark.filterwarnings("ignore:Not enough free disk space")
def test_a_disk_that_is_full_is_no_error_of_the_hub(get, tmp_path):
    """A small disk of its own, which takes root to mount."""
    if os.geteuid():
        pytest.skip("mounting a small disk takes root")
    disk = tmp_path / "raw"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(disk)], check=True)
    try:
        with pytest.raises(DiskError) as e:
            get()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert str(e.value).startswith(f"{disk / 'train.jsonl'}: No space left on device")
    assert f"of 0.0 GiB are free on the disk at {disk})" in str(e.value)


@pytest.mark.parametrize("content", [b'{"question": "\xff"}', b"[" * 100_000, b'{"a":' * 100_000])
def test_rows_that_cannot_be_read_are_named(tmp_path, content):
    file = tmp_path / "train.jsonl"
    file.write_bytes(content)
    with pytest.raises(DatasetError, match="train.jsonl"):
        list(read_rows([file]))
