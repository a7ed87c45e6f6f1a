"""Whole logs in blocks: in a folder, and on a real S3 server."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sqltune.records import logstore
from sqltune.records.logstore import LogStore

RUN, LOG = "r1", "train.try1.host-a"


@pytest.fixture(params=["folder", "s3"])
def store(request, tmp_path, monkeypatch) -> LogStore:
    """An empty log store."""
    address = str(tmp_path / "logs")
    if request.param == "s3":
        for name, value in request.getfixturevalue("s3").items():
            monkeypatch.setenv(name, value)
        address = f"s3://logs/{tmp_path.name}"
    monkeypatch.setenv("SQLTUNE_LOG_STORE", address)
    return LogStore()


def count(store: LogStore) -> int:
    return len(store._blocks(RUN, LOG))


def test_blocks_are_joined_in_order(store):
    store.write(RUN, LOG, 6, b"world\n")
    store.write(RUN, LOG, 0, b"hello ")
    assert store.read(RUN, LOG) == b"hello world\n"
    assert store.size(RUN, LOG) == 12


def test_a_block_written_twice_is_there_once(store):
    for _ in range(2):
        store.write(RUN, LOG, 0, b"hello\n")
    assert store.read(RUN, LOG) == b"hello\n"
    assert count(store) == 1


def test_overlapping_blocks_give_each_byte_once(store):
    text = b"".join(b"line %d\n" % number for number in range(100))
    for start, end in ((0, 50), (30, 90), (30, 40), (90, 91), (0, 20), (80, len(text))):
        store.write(RUN, LOG, start, text[start:end])
    assert store.read(RUN, LOG) == text


def test_a_range_of_a_log(store):
    store.write(RUN, LOG, 0, b"0123456789")
    store.write(RUN, LOG, 10, b"abcdef")
    assert store.read(RUN, LOG, 8, 12) == b"89ab"
    assert store.read(RUN, LOG, 12) == b"cdef"
    assert store.read(RUN, LOG, 99) == b""


def test_a_gap_is_named(store):
    store.write(RUN, LOG, 0, b"one\n")
    store.write(RUN, LOG, 10, b"two\n")
    assert store.read(RUN, LOG) == b"one\n\n[6 bytes are missing here]\ntwo\n"


def test_a_missing_log_is_empty(store):
    assert store.read(RUN, LOG) == b""
    assert store.size(RUN, LOG) == 0
    assert store.names(RUN) == []


def test_the_logs_of_a_run_have_names(store):
    store.write(RUN, "train.try1.host-b", 0, b"b")
    store.write(RUN, LOG, 0, b"a")
    store.write("r2", LOG, 0, b"other")
    assert store.names(RUN) == [LOG, "train.try1.host-b"]
    assert store.read(RUN, LOG) == b"a"


def test_nothing_is_written_for_no_bytes(store):
    store.write(RUN, LOG, 0, b"")
    assert store.names(RUN) == []


def test_another_process_sees_what_was_written_meanwhile(store):
    other = LogStore()
    assert other.read(RUN, LOG) == b""
    store.write(RUN, LOG, 0, b"one\n")
    assert other.read(RUN, LOG) == b"one\n"


def test_hosts_write_at_the_same_time(store):
    def write(host: str) -> None:
        for number in range(10):
            store.write(RUN, f"train.try1.{host}", 5 * number, b"%s %d\n" % (host.encode(), number % 10))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, ("aaa"[:2], "bbb"[:2], "ccc"[:2])))
    assert store.read(RUN, "train.try1.aa").splitlines() == [b"aa %d" % number for number in range(10)]


def test_small_blocks_become_a_large_one(store):
    text = b"".join(b"line %d\n" % number for number in range(30))
    at = 0
    for line in text.splitlines(keepends=True):
        store.write(RUN, LOG, at, line)
        at += len(line)
    store.compact(RUN, LOG)
    assert store.read(RUN, LOG) == text
    assert count(store) == 1


def test_a_large_block_has_a_limit(store, monkeypatch):
    monkeypatch.setattr(logstore, "BLOCK", 10)
    for number in range(6):
        store.write(RUN, LOG, 4 * number, b"abc\n")
    store.compact(RUN, LOG)
    assert store.read(RUN, LOG) == b"abc\n" * 6
    assert count(store) == 3


def test_a_gap_is_not_joined(store):
    for offset in (0, 4, 20, 24):
        store.write(RUN, LOG, offset, b"abc\n")
    before = store.read(RUN, LOG)
    store.compact(RUN, LOG)
    assert store.read(RUN, LOG) == before
    assert count(store) == 2


def test_a_block_whose_writer_died_is_not_read(tmp_path):
    store = LogStore(str(tmp_path))
    store.write(RUN, LOG, 0, b"hello\n")
    (tmp_path / RUN / LOG / "0000000000000006-6").write_bytes(b"wor")
    assert store.read(RUN, LOG) == b"hello\n"
    store.compact(RUN, LOG)
    assert store.read(RUN, LOG) == b"hello\n"
    store.write(RUN, LOG, 6, b"world\n")
    assert store.read(RUN, LOG) == b"hello\nworld\n"


def synced(monkeypatch) -> list[tuple[str, list[str]]]:
    """What is synced from now on: the path, and the names in its folder at that moment."""
    calls = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        folder = path if path.is_dir() else path.parent
        calls.append((path.name, sorted(p.name for p in folder.iterdir())))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    return calls


def test_a_block_in_a_folder_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """The host may remove what was acknowledged: a power cut must not take it from the log store."""
    store, name = LogStore(str(tmp_path)), "0000000000000000-6"
    store.write(RUN, LOG, 0, b"")
    (tmp_path / RUN / LOG).mkdir(parents=True)
    calls = synced(monkeypatch)
    store.write(RUN, LOG, 0, b"hello\n")
    (temporary, before), (folder, after) = calls
    assert temporary.startswith(f".{name}.")
    assert name not in before
    assert (folder, after) == (LOG, [name])


def test_a_new_logs_folder_is_on_the_disk_too(tmp_path, monkeypatch):
    calls = synced(monkeypatch)
    LogStore(str(tmp_path / "logs")).write(RUN, LOG, 0, b"x")
    assert [name for name, _ in calls][:3] == [tmp_path.name, "logs", RUN]


def test_a_block_that_was_not_finished_is_not_seen(tmp_path):
    store = LogStore(str(tmp_path))
    store.write(RUN, LOG, 0, b"hello\n")
    (tmp_path / RUN / LOG / ".0000000000000006-6.ab12").write_bytes(b"wor")
    assert store.read(RUN, LOG) == b"hello\n"
    assert store.size(RUN, LOG) == 6


def test_a_block_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    store = LogStore(str(tmp_path))

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        store.write(RUN, LOG, 0, b"hello\n")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_folder_that_cannot_be_written_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        LogStore(str(tmp_path / "file")).write(RUN, LOG, 0, b"x")


def test_the_default_is_a_folder_under_the_home(records):
    LogStore().write(RUN, LOG, 0, b"x")
    assert (records / "logs" / RUN / LOG / "0000000000000000-1").read_bytes() == b"x"


def test_the_logs_of_a_run_are_removed_and_no_others(store):
    for run in ("r1", "r2"):
        store.write(run, LOG, 0, b"hello\n")
        store.write(run, "reap.1", 0, b"hello\n")
    assert store.runs() == ["r1", "r2"]
    assert store.total_size() == 24
    store.remove("r1")
    assert store.runs() == ["r2"]
    assert store.total_size() == 12


def test_the_size_is_known_while_logs_are_written(store, monkeypatch):
    """A temporary file or a block that `compact` joins is gone a moment after it was listed."""
    store.write(RUN, LOG, 0, b"hello\n")
    store.write(RUN, LOG, 6, b"hello\n")
    found = store._fs.find

    def find(*args, **kwargs):
        listed = found(*args, **kwargs)
        store._remove(RUN, LOG, store._blocks(RUN, LOG)[1:])
        return listed

    monkeypatch.setattr(store._fs, "find", find)
    assert store.total_size() >= 6


def test_a_store_without_a_log_is_empty(store):
    assert (store.runs(), store.total_size()) == ([], 0)
