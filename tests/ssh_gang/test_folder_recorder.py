"""The recorder that needs nothing but a folder."""

from __future__ import annotations

import json

from ssh_gang.folder_recorder import FolderRecorder
from ssh_gang.milestone import Milestone
from ssh_gang.progress import Progress


def test_a_milestone_that_is_noticed_again_is_there_once(tmp_path):
    for at in (1.0, 2.0):
        FolderRecorder(tmp_path, "g").milestone("try1", Milestone(kind="started", at=at))
    FolderRecorder(tmp_path, "g").milestone("try2", Milestone(kind="started", at=3.0))
    lines = [json.loads(line) for line in (tmp_path / "milestones.jsonl").read_text().splitlines()]
    assert [(line["attempt"], line["milestone"]["at"]) for line in lines] == [("try1", 1.0), ("try2", 3.0)]


def test_a_text_with_line_separators_is_one_line(tmp_path):
    milestone = Milestone(kind="failed", at=1.0, reason="one\u2028two\nthree")
    for _ in range(2):
        FolderRecorder(tmp_path, "g").milestone("try1", milestone)
    assert (tmp_path / "milestones.jsonl").read_bytes().count(b"\n") == 1


def test_the_last_progress_is_known_to_another_process(tmp_path):
    FolderRecorder(tmp_path, "g").progress("try1", 1.0, Progress(step=3, total=9))
    again = FolderRecorder(tmp_path, "g")
    assert again.last_progress("try1") == Progress(step=3, total=9)
    assert again.last_progress("try2") is None


def test_a_line_that_was_cut_short_is_left_out_and_the_next_one_is_a_line_of_its_own(tmp_path):
    """As on a full disk."""
    FolderRecorder(tmp_path, "g").progress("try1", 1.0, Progress(step=1, total=9))
    with (tmp_path / "progress.jsonl").open("a") as file:
        file.write('{"attempt": "try1", "at"')
    again = FolderRecorder(tmp_path, "g")
    assert again.last_progress("try1") == Progress(step=1, total=9)
    again.progress("try1", 3.0, Progress(step=2, total=9))
    assert FolderRecorder(tmp_path, "g").last_progress("try1") == Progress(step=2, total=9)


def test_output_is_written_at_its_offset_whatever_the_order(tmp_path):
    recorder = FolderRecorder(tmp_path, "g")
    for offset, data in ((4, b"two\n"), (0, b"one\n"), (0, b"one\ntwo\nthree\n")):
        recorder.output("try1", "a", offset, data)
    assert recorder.log_path("try1", "a").read_bytes() == b"one\ntwo\nthree\n"
