"""The queue of changes that MLflow has not received yet."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sqltune.records import outbox

pytestmark = pytest.mark.usefixtures("engine")


def test_messages_wait_in_their_order():
    outbox.put("version", "lab", 1)
    outbox.put("champion", "lab", 1)
    assert [(m.what, m.number) for m in outbox.waiting()] == [("version", 1), ("champion", 1)]


def test_a_message_that_is_being_sent_is_not_claimed_again():
    outbox.put("version", "lab", 1)
    outbox.put("version", "lab", 2)
    assert outbox.claim_first().number == 1
    assert outbox.claim_first() is None


def test_a_message_given_back_stays_the_first():
    outbox.put("version", "lab", 1)
    outbox.put("version", "lab", 2)
    outbox.give_back(outbox.claim_first())
    assert outbox.claim_first().number == 1


def test_a_sent_message_makes_room_for_the_next():
    outbox.put("version", "lab", 1)
    outbox.put("version", "lab", 2)
    outbox.sent(outbox.claim_first())
    assert outbox.claim_first().number == 2
    assert len(outbox.waiting()) == 1


def test_a_message_whose_sender_died_is_sent_by_another(monkeypatch):
    monkeypatch.setattr(outbox, "LEASE", timedelta(seconds=-1))
    outbox.put("version", "lab", 1)
    assert outbox.claim_first() == outbox.claim_first()


def test_an_empty_outbox_has_nothing_to_claim():
    assert outbox.claim_first() is None
