"""Each limit is named when it is exceeded, and holds only for hosts that have not succeeded."""

from __future__ import annotations

from types import SimpleNamespace

from ssh_gang.limit_check import exceeded_limit
from ssh_gang.model import Limits
from ssh_gang.progress import ProgressTracker
from ssh_gang.state import JobState

LIMITS = Limits(unreachable=60, total=100, rendezvous=20, first_step=30, stall=40)
PATTERN = r"step (?P<step>\d+)/(?P<total>\d+)"


def host(name="a", *, ranks_started=2, silence=0.0, elapsed=10.0, has_succeeded=False):
    """A host with two ranks."""
    state = JobState(
        presence="present",
        alive=not has_succeeded,
        ranks_started=ranks_started,
        exit_status="0" if has_succeeded else "",
    )
    return SimpleNamespace(
        member=SimpleNamespace(host=name, ranks=2),
        state=state,
        silence=silence,
        elapsed=elapsed,
        has_succeeded=has_succeeded,
        is_output_complete=has_succeeded,
    )


def check(*hosts, pattern=None, seconds_without_progress=0.0, lines=()):
    tracker = ProgressTracker(pattern, lambda progress: None)
    tracker.read(lines)
    tracker._moved_at -= seconds_without_progress
    return exceeded_limit(LIMITS, hosts, tracker)


def test_all_limits_kept():
    assert check(host(), host("b"), pattern=PATTERN) is None


def test_unreachable():
    assert check(host(), host("b", silence=61)) == "b: not reachable for 60 s (limit unreachable)"


def test_total():
    assert check(host(), host("b", elapsed=101)) == "not done after 100 s (limit total)"


def test_rendezvous_names_the_hosts_and_their_ranks():
    reason = "after 20 s not every rank has started: b 1 of 2 (limit rendezvous)"
    assert check(host(elapsed=21), host("b", ranks_started=1)) == reason


def test_rendezvous_is_kept_by_ranks_that_have_started():
    assert check(host(elapsed=21), host("b")) is None


def test_first_step():
    reason = "no progress for 30 s (limit first_step), last: no iteration yet"
    assert check(host(), pattern=PATTERN, seconds_without_progress=31) == reason


def test_stall_names_the_last_step():
    reason = "no progress for 40 s (limit stall), last: iter 3/9"
    assert check(host(), pattern=PATTERN, lines=["step 3/9"], seconds_without_progress=41) == reason


def test_first_step_is_not_asked_for_before_it_is_known_whether_there_was_one():
    """A watcher that takes over while the recorder does not answer does not know how far the gang is."""
    tracker = ProgressTracker(PATTERN, lambda progress: None)
    tracker.is_restoring = True
    tracker._moved_at -= 35
    assert exceeded_limit(LIMITS, [host()], tracker) is None
    tracker._moved_at -= 6
    assert exceeded_limit(LIMITS, [host()], tracker) == (
        "no progress for 40 s (limit stall), last: no iteration yet"
    )


def test_progress_is_not_expected_without_a_pattern():
    assert check(host(), seconds_without_progress=1000) is None


def test_a_host_that_has_succeeded_keeps_no_limit():
    """It may wait for its records, or be switched off."""
    assert check(host(silence=1000, elapsed=1000, has_succeeded=True)) is None


def test_progress_is_not_expected_of_ranks_that_have_ended():
    done = host(has_succeeded=True)
    done.is_output_complete = False
    assert check(done, pattern=PATTERN, seconds_without_progress=1000) is None
