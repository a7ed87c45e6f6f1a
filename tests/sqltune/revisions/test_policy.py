"""Which revisions a policy trains; the schedule's tests have the moments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sqltune.config.recipe import Revisions
from sqltune.records.revisions import Revision, State
from sqltune.revisions.policy import candidates, next_revision, tonight

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def revision(letter: str, minute: int = 0, tags: tuple[str, ...] = ()) -> Revision:
    return Revision(
        commit=letter * 40,
        position=ord(letter),
        date=NOON,
        author="a",
        title=letter,
        tags=tags,
        first_seen=NOON + timedelta(minutes=minute),
        source="watcher",
        state=State.WAITING,
        run_id=None,
        fingerprint=None,
        is_partition=False,
        is_trained=False,
    )


WAITING = [revision("a"), revision("b", 5, ("v1",)), revision("c", 9)]


@pytest.mark.parametrize(
    ("policy", "wanted"), [("nightly", "c"), ("newest", "c"), ("each", "abc"), ("tagged", "b")]
)
def test_a_policy_chooses_among_what_waits(policy, wanted):
    chosen = candidates(WAITING, Revisions(policy=policy))
    assert "".join(r.title for r in chosen) == wanted


def test_the_quiet_period_begins_with_the_last_commit_that_is_wanted():
    following = next_revision(WAITING, Revisions(policy="each", quiet_period=60))
    assert following.revision.title == "a"
    assert following.at == NOON + timedelta(minutes=10)


@pytest.mark.parametrize("policy", ["nightly", "newest", "each", "tagged"])
def test_where_nothing_waits_nothing_starts(policy):
    assert next_revision([], Revisions(policy=policy)) is None


def test_tonight_takes_the_newest_that_was_seen_before():
    assert tonight(WAITING, NOON + timedelta(minutes=6)).title == "b"


def test_tonight_takes_none_where_the_newest_has_a_run():
    assert tonight(WAITING, NOON + timedelta(hours=1), {"c" * 40}) is None
