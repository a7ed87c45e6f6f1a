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


def test_the_last_progress_is_known_to_another_process(tmp_path):
    FolderRecorder(tmp_path, "g").progress("try1", 1.0, Progress(step=3, total=9))
    again = FolderRecorder(tmp_path, "g")
    assert again.last_progress("try1") == Progress(step=3, total=9)
    assert again.last_progress("try2") is None
