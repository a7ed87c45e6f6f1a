"""Log lines to numbers, and the history of the loss."""

from __future__ import annotations

import re

import pytest

from ssh_gang.progress import Progress, parse_progress

PATTERN = re.compile(r"step (?P<step>\d+)/(?P<total>\d+)(?: loss=(?P<loss>\S+))?(?: lr=(?P<lr>\S+))?")


def parse(line: str) -> Progress | None:
    return parse_progress(PATTERN, line)


def steps(*losses: str) -> Progress:
    """The progress after as many steps, one for each loss."""
    last = None
    for step, loss in enumerate(losses, 1):
        last = parse(f"step {step}/9 loss={loss}").after(last)
    return last


def test_parse_progress_reads_the_named_groups():
    assert parse("12:03 step 3/9 loss=0.5 lr=1e-4") == Progress(step=3, total=9, loss=0.5, lr=1e-4)


def test_parse_progress_without_a_match_is_none():
    assert parse("epoch 3") is None


@pytest.mark.parametrize("line", ["all done", "step x/9"])
def test_parse_progress_of_a_match_without_a_step_is_none(line):
    pattern = re.compile(r"step (?P<step>\S+)/(?P<total>\d+)|all done")
    assert parse_progress(pattern, line) is None


def test_parse_progress_without_a_loss_keeps_loss_is_finite():
    progress = parse("step 3/9")
    assert progress.loss is None
    assert progress.loss_is_finite


@pytest.mark.parametrize("loss", ["nan", "inf", "-inf"])
def test_parse_progress_of_a_loss_that_is_not_finite(loss):
    progress = parse(f"step 3/9 loss={loss}")
    assert progress.loss is None
    assert not progress.loss_is_finite


def test_parse_progress_of_a_number_that_was_cut_leaves_it_out():
    assert parse("step 3/9 loss=1e-").loss is None


def test_progress_is_valid_json_whatever_the_loss():
    progress = parse("step 3/9 loss=nan lr=inf")
    assert Progress.model_validate_json(progress.model_dump_json()) == progress


def test_after_a_finite_loss_the_step_is_the_last_finite_one():
    assert steps("0.5", "0.4").last_finite_step == 2
    assert steps("0.5", "0.4").first_nonfinite_step is None


def test_after_a_loss_that_became_nan_both_steps_are_known():
    progress = steps("0.5", "0.4", "nan", "nan")
    assert progress.last_finite_step == 2
    assert progress.first_nonfinite_step == 3


def test_after_a_loss_that_recovered_the_first_nan_stays_known():
    progress = steps("0.5", "nan", "0.4")
    assert progress.last_finite_step == 3
    assert progress.first_nonfinite_step == 2


def test_str_shows_step_loss_and_time_left():
    assert (
        str(Progress(step=23, total=24, loss=0.087, eta="0:00:08"))
        == "iter 23/24 · loss 0.0870 · ETA 0:00:08"
    )


def test_str_shows_a_loss_that_is_not_finite():
    assert str(Progress(step=2, total=9, loss_is_finite=False)) == "iter 2/9 · loss not finite"
