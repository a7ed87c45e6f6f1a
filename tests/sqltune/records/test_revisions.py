"""Revisions: each commit recorded once, and given to one run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread

from sqltune.records import revisions, runs, verdicts
from sqltune.records.revisions import Commit, Feed, Reading, State
from tests.databases import statements
from tests.plans import run_plan

FEED = Feed("lab", "lab_tiny", "team/data")
START = datetime(2026, 11, 1, tzinfo=UTC)


def commits(letters: str) -> list[Commit]:
    """Commits named by letters, a day apart."""
    return [Commit(c * 40, START + timedelta(days=ord(c)), "author", f"title {c}") for c in letters]


def see(letters: str, read_from: str | None = ..., tags=None, feed: Feed = FEED) -> str:
    """Read a branch with these commits, oldest first; the letters of those that are new."""
    if read_from is ...:
        read_from = revisions.watermark(feed).head
    reading = Reading(commits=commits(letters), read_from=read_from, tags=tags or {}, etag=letters)
    return "".join(c[0] for c in revisions.observe(feed, reading, "watcher"))


def states(feed: Feed = FEED) -> dict[str, str]:
    return {r.commit[0]: r.state.value for r in revisions.listed(feed)}


def waiting(feed: Feed = FEED) -> str:
    return "".join(r.commit[0] for r in revisions.waiting(feed))


def claim(letter: str, run_id: str, skips_older: bool = False) -> str | None:
    fingerprint = run_plan(run_id, dataset_commit=letter * 40).fingerprint
    return revisions.claim(FEED, letter * 40, run_id, fingerprint, is_partition=True, skips_older=skips_older)


def judged(run_id: str, letter: str) -> None:
    runs.put_plan(run_plan(run_id, dataset_commit=letter * 40))
    verdicts.put(run_id, passed=True, table="", decision={}, rules=[])


def test_at_the_first_reading_the_newest_waits_and_the_others_are_known(engine):
    assert see("abc") == "c"
    assert states() == {"a": "known", "b": "known", "c": "waiting"}


def test_all_commits_since_the_watermark_wait_in_order(engine):
    see("a")
    assert see("abcd") == "bcd"
    assert waiting() == "abcd"
    assert revisions.watermark(FEED).head == "d" * 40


def test_only_those_that_wait_are_read_for_the_queue(engine):
    """The page asks for the queue every few seconds, also after years of commits."""
    see("ab")
    claim("b", "r1")
    see("abcd")
    with statements() as sent:
        assert waiting() == "cd"
    assert "revisions.state IN" in sent[-1]
    assert "".join(r.commit[0] for r in revisions.listed(FEED, State.KNOWN, State.STARTED)) == "ab"


def test_a_second_reading_of_the_same_adds_nothing(engine):
    see("ab")
    assert see("ab") == ""


def test_a_reading_that_began_at_another_watermark_writes_nothing(engine):
    """It may be older than what another watcher has recorded since."""
    see("a")
    see("abc")
    assert see("ab", read_from="a" * 40) == ""
    assert states() == {"a": "waiting", "b": "waiting", "c": "waiting"}


def test_of_two_watchers_at_once_one_records_the_commits(engine):
    see("a")
    found: list[str] = []
    barrier = Barrier(2)

    def watch() -> None:
        barrier.wait()
        found.append(see("abcdef", read_from="a" * 40))

    threads = [Thread(target=watch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == ["", "bcdef"]
    assert waiting() == "abcdef"


def test_a_merge_may_bring_commits_that_are_older_than_the_watermark(engine):
    see("ac")
    assert see("abcd") == "bd"


def test_after_a_forced_push_what_follows_the_last_common_commit_is_new(engine):
    see("a")
    see("abc")
    assert see("axy") == "xy"
    assert states() == {"a": "waiting", "b": "gone", "c": "gone", "x": "waiting", "y": "waiting"}


def test_after_a_forced_push_without_a_common_commit_only_the_newest_is_new(engine):
    see("ab")
    assert see("xyz") == "z"
    assert states() == {"a": "gone", "b": "gone", "x": "known", "y": "known", "z": "waiting"}


def test_a_commit_that_comes_back_waits_again(engine):
    see("a")
    see("ab")
    see("a")
    assert states()["b"] == "gone"
    assert see("ab") == "b"
    assert waiting() == "ab"


def test_a_forced_push_leaves_what_a_run_has(engine):
    see("a")
    see("ab")
    claim("b", "r1")
    see("ax")
    assert states()["b"] == "started"


def test_a_tag_is_recorded_also_when_it_comes_later(engine):
    see("ab")
    assert see("ab", tags={"a" * 40: ["v1"]}) == ""
    assert [r.tags for r in revisions.listed(FEED)] == [("v1",), ()]


def test_the_first_run_gets_a_revision_and_keeps_it(engine):
    see("ab")
    assert claim("b", "r1") == "r1"
    assert claim("b", "r2") == "r1"
    assert waiting() == ""


def test_one_of_many_claims_at_once_wins(engine):
    see("ab")
    owners: list[str | None] = []
    barrier = Barrier(4)

    def compete(run_id: str) -> None:
        barrier.wait()
        owners.append(claim("b", run_id))

    threads = [Thread(target=compete, args=[f"r{n}"]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(owners) == 4
    assert len(set(owners)) == 1


def test_what_is_given_back_waits_again(engine):
    see("ab")
    claim("b", "r1")
    revisions.give_back(FEED, "b" * 40, "r1")
    assert waiting() == "b"
    assert claim("b", "r2") == "r2"


def test_only_what_a_run_has_is_taken_from_it(engine):
    see("ab")
    claim("b", "r1")
    revisions.give_back(FEED, "b" * 40, "r2")
    assert claim("b", "r3") == "r1"


def test_unjudged_is_what_runs_have_claimed_since_the_last_that_was_trained(engine):
    see("a")
    see("abcd")
    for letter in "abc":
        claim(letter, f"r{letter}")
    judged("rb", "b")
    assert [r.commit[0] for r in revisions.unjudged(revisions.listed(FEED))] == ["c"]


def test_a_claim_of_the_newest_skips_those_that_waited_before_it(engine):
    see("a")
    see("abc")
    claim("b", "r1", skips_older=True)
    assert states() == {"a": "skipped", "b": "started", "c": "waiting"}


def test_a_commit_that_is_not_recorded_has_no_owner(engine):
    assert claim("a", "r1") is None


def test_a_revision_is_trained_when_its_run_has_the_verdict(engine):
    see("ab")
    claim("b", "r1")
    assert not revisions.listed(FEED)[1].is_trained
    judged("r1", "b")
    assert revisions.listed(FEED)[1].is_trained


def test_a_revision_whose_run_failed_is_trained_by_another_with_the_same_plan(engine):
    see("ab")
    claim("b", "r1")
    judged("r2", "b")
    assert revisions.listed(FEED)[1].is_trained


def test_another_recipe_has_revisions_of_its_own(engine):
    other = Feed("lab", "another", "team/data")
    see("ab")
    see("ab", feed=other)
    claim("b", "r1")
    assert waiting(other) == "b"


def test_partition_dates_differ_though_the_commits_have_the_same_second(engine):
    same = [Commit(c * 40, START, "a", "t") for c in "ab"]
    revisions.observe(FEED, Reading(commits=same, read_from=None), "watcher")
    first, second = (r.partition_date for r in revisions.listed(FEED))
    assert first != second
    assert first.replace(microsecond=0) == second.replace(microsecond=0) == START


def test_a_webhook_is_remembered_until_the_hub_was_asked(engine):
    revisions.ask(FEED)
    mark = revisions.watermark(FEED)
    assert mark.asked_at is not None
    assert mark.checked_at is None


def test_a_hub_that_has_nothing_new_has_answered_all_the_same(engine):
    see("a")
    first = revisions.watermark(FEED).checked_at
    revisions.observe(FEED, Reading(commits=None, read_from="a" * 40), "watcher")
    assert revisions.watermark(FEED).checked_at > first
    assert revisions.watermark(FEED).is_fresh(timedelta(minutes=1))
