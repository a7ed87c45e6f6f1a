"""The text of each event's message, in both languages."""

from __future__ import annotations

import pytest

from sqltune.alerts.event import Alert, Event
from sqltune.alerts.message import LONGEST_FACT, first_lines, language, message

FACTS = {
    Event.FAILURE: {"task": "train", "cause": "gpu-1: exit code 1", "cluster": "gpu_2x4"},
    Event.HELD_BACK: {"rules": "min_gain: 1.0 points, at least 2.0 are required", "score": "80 → 81 / 100"},
    Event.PROMOTED: {"version": "7", "previous": "6", "score": "80/100 → 91/100", "why": "passed the gate"},
    Event.OVERRUN: {"deadline": "2026-11-29T10:00:00+00:00", "progress": "iter 120/500 · loss 0.3100"},
    Event.DATA_CHECK: {"cause": "34 % of the rows are gone, at most 5 % may be"},
    Event.APPROVAL: {"score": "80 → 91 / 100"},
    Event.LOSS: {
        "cause": "the loss of iteration 40 is 9.1, before about 0.4",
        "action": "tell",
    },
    Event.DISK: {
        "place": "gpu-1",
        "cause": "gpu-1: 31.0 of 900.0 GiB are free under ~/sqltune, less than 40.0 (alert_free_disk_gb): "
        "delete old runs there, or lower keep in the cluster file",
        "cluster": "gpu_2x4",
    },
    Event.TEST: {"note": "Sent by sqltune alert --test."},
}


LINKS = {Event.APPROVAL: "https://airflow/x/required_actions"}


def text(event: Event, in_language: str) -> str:
    made = message(
        Alert(event, run_id="night", link=LINKS.get(event, "https://airflow/x"), facts=FACTS[event]),
        in_language,
    )
    return f"{made.title}\n{made.body}"


@pytest.mark.parametrize("in_language", ["en", "zh"])
def test_the_messages(golden, in_language):
    golden(f"messages_{in_language}.txt", "\n\n".join(text(event, in_language) for event in Event) + "\n")


@pytest.mark.parametrize(("setting", "expected"), [("", "en"), ("en", "en"), ("zh", "zh"), ("fr", "en")])
def test_the_language_is_a_setting(monkeypatch, setting, expected):
    monkeypatch.setenv("SQLTUNE_ALERT_LANGUAGE", setting)
    assert language() == expected


def test_every_title_has_the_keyword_that_robots_may_ask_for():
    assert all(text(event, lang).startswith("[sqltune] ") for event in Event for lang in ("en", "zh"))


@pytest.mark.parametrize(
    "cause",
    [
        "cannot reach https://me:hunter2@hub.example.com/x",
        "HF_TOKEN=hunter2 is not accepted",
        "login failed, password: hunter2",
    ],
)
def test_no_secret_is_in_a_message(cause):
    made = message(Alert(Event.FAILURE, facts={"cause": cause}), "en")
    assert "hunter2" not in made.body
    assert "***" in made.body


def test_what_airflow_hides_in_its_logs_is_hidden_here():
    from airflow.sdk.log import mask_secret

    mask_secret("a-secret-of-a-connection")
    made = message(Alert(Event.FAILURE, facts={"cause": "refused: a-secret-of-a-connection"}), "en")
    assert made.body == "Cause: refused: ***"


def test_a_long_cause_is_cut():
    made = message(Alert(Event.FAILURE, facts={"cause": "x" * 9999}), "en")
    assert len(made.body) == len("Cause: ") + LONGEST_FACT


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        ("gpu-1: exit code 1\n--- last lines of gpu-1 ---\nboom", "gpu-1: exit code 1"),
        (
            "1 value is wrong; nothing started:\n  - seed: 1.5",
            "1 value is wrong; nothing started: - seed: 1.5",
        ),
        ("", ""),
    ],
)
def test_a_cause_is_one_line_with_what_it_announces(error, cause):
    assert first_lines(error) == cause
