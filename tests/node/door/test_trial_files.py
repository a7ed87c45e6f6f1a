"""A trial's two files, and what is read from them."""

from __future__ import annotations

import json

import pytest

from door.trial_files import FILE, Arm, Counts, Trial, read_counts, read_trial

CANDIDATE = "text2sql-new"


def test_a_trial_is_read_as_it_is_written(tmp_path):
    trial = Trial("run-1", "canary", "text2sql", CANDIDATE, 0.5, 60, 1.5, 2.5)
    trial.write(tmp_path)
    assert read_trial(tmp_path) == trial
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


def test_a_field_of_a_newer_version_is_left_aside(tmp_path):
    trial = Trial("run-1", "canary", "text2sql", CANDIDATE, 0.5, 60)
    trial.write(tmp_path)
    (tmp_path / FILE).write_text(json.dumps(json.loads((tmp_path / FILE).read_text()) | {"new": 1}))
    assert read_trial(tmp_path) == trial


def test_counts_are_read_as_they_are_written(tmp_path):
    trial = Trial("run-1", "canary", "text2sql", CANDIDATE, 0.5, 60, began=9)
    written = Counts(9, same=3, dropped=1)
    written.candidate.add(0.5)
    written.write(tmp_path)
    assert read_counts(tmp_path, trial) == written


def test_the_median_is_that_of_the_answers_within_a_fortieth():
    arm = Arm("candidate")
    assert arm.median is None
    for seconds in (0.00001, 0.1, 1.0, 1.3, 700.0):
        arm.add(seconds)
    assert arm.median == pytest.approx(1.0, rel=0.025)


def test_the_share_is_drawn_from_each_id():
    trial = Trial("run-1", "canary", "text2sql", CANDIDATE, 0.25, 60)
    chosen = sum(trial.chooses(f"r-{number}") for number in range(4000))
    assert 863 <= chosen <= 1137, "five standard deviations of 1000 are 137"
