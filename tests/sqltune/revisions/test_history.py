"""The branch's history, read from a hub that changes."""

from __future__ import annotations

import pytest

from lab.hub import COMMITS_PER_PAGE
from sqltune.errors import HubError, HubUnreachable
from sqltune.records import revisions
from sqltune.records.revisions import Feed
from sqltune.revisions import history
from tests.changing_hub import NAME, ChangingHub
from tests.conftest import free_port, serving

FEED = Feed("lab", "lab_tiny", NAME)


@pytest.fixture
def hub(records):
    served = ChangingHub()
    served.push("first")
    with serving(served) as url:
        served.url = url
        yield served


def titles() -> list[str]:
    return [r.title for r in revisions.waiting(FEED)]


def test_commits_between_two_readings_are_all_recorded_in_order(hub):
    history.follow(FEED, hub.url, "watcher")
    hub.push("second", "third", "fourth")
    assert history.follow(FEED, hub.url, "watcher") == [c.sha for c in hub.commits[1:]]
    assert titles() == ["first", "second", "third", "fourth"]


def test_a_branch_that_has_not_moved_costs_one_request(hub):
    history.follow(FEED, hub.url, "watcher")
    hub.paths.clear()
    for _ in range(3):
        assert history.follow(FEED, hub.url, "watcher") == []
    assert hub.paths == ["refs"] * 3


def test_more_commits_than_a_page_of_the_hubs_holds_are_recorded(hub):
    history.follow(FEED, hub.url, "watcher")
    hub.push(*(f"n{n}" for n in range(COMMITS_PER_PAGE + 5)))
    assert len(history.follow(FEED, hub.url, "watcher")) == COMMITS_PER_PAGE + 5


def test_a_tag_is_seen_though_the_branch_has_not_moved(hub):
    history.follow(FEED, hub.url, "watcher")
    hub.tags["v1"] = hub.commits[0].sha
    hub.publish()
    assert history.follow(FEED, hub.url, "watcher") == []
    assert [r.tags for r in revisions.listed(FEED)] == [("v1",)]


def test_date_author_and_title_are_the_commits(hub):
    history.follow(FEED, hub.url, "watcher")
    revision = revisions.listed(FEED)[0]
    assert (revision.title, revision.author, revision.date.isoformat()) == (
        "first",
        "lab",
        "2026-11-01T00:00:00+00:00",
    )


def test_a_hub_without_etags_is_compared_by_its_answer(hub, monkeypatch):
    async def without_etag(scope, receive, send) -> None:
        async def strip(message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [h for h in message["headers"] if h[0].lower() != b"etag"]
            await send(message)

        await ChangingHub.__call__(hub, scope, receive, strip)

    with serving(without_etag) as url:
        history.follow(FEED, url, "watcher")
        hub.paths.clear()
        history.follow(FEED, url, "watcher")
        assert hub.paths == ["refs"]
        hub.push("second")
        history.follow(FEED, url, "watcher")
    assert titles() == ["first", "second"]


def test_a_branch_that_is_not_there_is_named_with_those_that_are(hub):
    with pytest.raises(HubError, match=r"branch 'dev' is not in team/data \(branches: main\)"):
        history.follow(Feed("lab", "lab_tiny", NAME, "dev"), hub.url, "watcher")


def test_a_repository_that_is_not_there_is_named(hub):
    with pytest.raises(HubError, match="dataset_repo: 'team/other' is not on"):
        history.follow(Feed("lab", "lab_tiny", "team/other"), hub.url, "watcher")


def test_a_hub_that_does_not_answer_leaves_the_watermark(records):
    with pytest.raises(HubUnreachable, match="does not answer"):
        history.follow(FEED, f"http://127.0.0.1:{free_port()}", "watcher")
    assert revisions.watermark(FEED).checked_at is None
