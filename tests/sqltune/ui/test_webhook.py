"""The hub's webhook: who may call it, and what it leads to."""

from __future__ import annotations

import time

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from sqltune.records import revisions
from sqltune.records.revisions import Feed
from sqltune.ui.webhook import BODY_LIMIT, VARIABLE, create_webhook
from tests.plans import LAB

SECRET = "a secret of the tests"
REPO = "sqltune-lab/text2sql_zh_en"
FEED = Feed("lab", "lab_smollm2", REPO)


def message(ref: str = "refs/heads/main", name: str = REPO, kind: str = "dataset") -> dict[str, object]:
    """A message as the hub sends it after a push."""
    return {
        "event": {"action": "update", "scope": "repo.content"},
        "repo": {"type": kind, "name": name, "id": "6366c000a2abcdf2fd69a080", "private": False},
        "updatedRefs": [{"ref": ref, "oldSha": "a" * 40, "newSha": "b" * 40}],
        "webhook": {"id": "6390e855e30d9209411de93b", "version": 3},
    }


@pytest.fixture
def webhook(records, monkeypatch):
    for name, value in LAB.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(VARIABLE, SECRET)
    app = create_webhook()
    assert app is not None
    return TestClient(app)


def send(webhook: TestClient, body: object = None, secret: str | None = SECRET, **options):
    headers = {"X-Webhook-Secret": secret} if secret is not None else {}
    return webhook.post("/v1/hub", headers=headers, json=body or message(), **options)


def asked() -> bool:
    return revisions.watermark(FEED).asked_at is not None


def test_a_push_to_the_watched_branch_makes_the_watcher_look(webhook):
    answer = send(webhook)
    assert (answer.status_code, answer.json()["accepted"]) == (202, True)
    assert asked()


def test_a_tag_makes_it_look_too(webhook):
    assert send(webhook, message("refs/tags/v1")).json()["accepted"]


@pytest.mark.parametrize("secret", [None, "", "a secret of the test", "a secret of the tests ", "geheim-ß"])
def test_without_the_secret_nothing_is_read(webhook, secret):
    encoded = None if secret is None else secret.encode()
    answer = send(webhook, secret=encoded)
    assert answer.status_code == 401
    assert SECRET not in answer.text
    assert not asked()


@pytest.mark.parametrize(
    "ignored",
    [
        message("refs/heads/dev"),
        message("refs/pr/1"),
        message(name="team/other"),
        message(kind="model"),
        {"event": {"action": "create"}, "repo": {"type": "dataset", "name": REPO}},
        {"repo": REPO, "updatedRefs": "refs/heads/main"},
        {"repo": {"type": "dataset", "name": REPO}, "updatedRefs": [None, 1, {}]},
    ],
)
def test_what_does_not_concern_the_branch_is_ignored_with_the_reason(webhook, ignored):
    answer = send(webhook, ignored)
    assert (answer.status_code, answer.json()["accepted"]) == (202, False)
    assert answer.json()["reason"]
    assert not asked()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff", b"[" * 60_000])
def test_a_body_that_is_no_message_is_refused(webhook, body):
    answer = webhook.post("/v1/hub", headers={"X-Webhook-Secret": SECRET}, content=body)
    assert answer.status_code == 400
    assert not asked()


def test_a_body_that_is_too_long_is_refused(webhook):
    body = b" " * (BODY_LIMIT + 1)
    assert webhook.post("/v1/hub", headers={"X-Webhook-Secret": SECRET}, content=body).status_code == 413


def test_a_message_that_is_sent_ten_times_adds_nothing(webhook):
    for _ in range(10):
        assert send(webhook).status_code == 202
    assert revisions.listed(FEED) == []


def test_it_answers_in_50_ms_whatever_the_database_does(webhook, monkeypatch):
    """Measured to the answer's first byte; the database is asked after it."""
    sent_at: list[float] = []

    async def app(scope, receive, send) -> None:
        async def noting(event) -> None:
            if event["type"] == "http.response.start":
                sent_at.append(time.perf_counter())
            await send(event)

        await webhook.app(scope, receive, noting)

    monkeypatch.setattr(revisions, "ask", lambda feed: time.sleep(0.5))
    client = TestClient(app)
    took = []
    for _ in range(5):
        begun = time.perf_counter()
        send(client)
        took.append(sent_at[-1] - begun)
    assert min(took) < 0.05


def test_without_a_secret_there_is_no_webhook(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert create_webhook() is None


def test_nothing_but_the_message_can_be_sent(webhook):
    app: FastAPI = webhook.app
    assert [(route.path, route.methods) for route in app.routes] == [("/v1/hub", {"POST"})]
