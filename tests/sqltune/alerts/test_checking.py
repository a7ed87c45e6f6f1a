"""`sqltune alert`: what is told of the settings, and whether a test arrives."""

from __future__ import annotations

import pytest

from sqltune.alerts import checking, delivery


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(delivery, "RETRY_WAIT", 0.01)


def test_each_entry_says_whether_the_test_arrived(webhook, told, capsys):
    webhook.statuses = [404] * 4
    url = f"json://127.0.0.1:{webhook.port}"
    told({"path": f"{url}/token", "tag": "failure"})
    assert checking.main(test=True) == 1
    told({"path": f"{url}/token", "tag": "failure"})
    assert checking.main(test=True) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "entry 1 (json): failure"
    assert lines[1].startswith("entry 1 (JSON): not delivered after 4 tries: ")
    assert lines[3] == "entry 1 (JSON): delivered"


def test_without_test_nothing_is_sent(webhook, told, capsys):
    told(f"json://127.0.0.1:{webhook.port}")
    assert checking.main(test=False) == 0
    assert capsys.readouterr().out == "entry 1 (json): every event\n"
    assert webhook.received == []


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("AIRFLOW_CONN_SQLTUNE_ALERTS", "", "there is no Connection sqltune_alerts"),
        ("AIRFLOW_CONN_SQLTUNE_ALERTS", '{"conn_type": "apprise"}', "expected an extra like"),
        ("SQLTUNE_ALERT_LANGUAGE", "fr", "SQLTUNE_ALERT_LANGUAGE is 'fr', expected en or zh"),
    ],
)
def test_a_mistake_is_named(told, monkeypatch, capsys, variable, value, said):
    told({"path": "json://127.0.0.1:1", "tag": "promoted"})
    monkeypatch.setenv(variable, value)
    if not value:
        monkeypatch.delenv(variable)
    assert checking.main(test=False) == 1
    assert said in capsys.readouterr().err


def test_a_tag_of_no_event_is_named(told, capsys):
    told({"path": "json://127.0.0.1:1", "tag": "promted"})
    assert checking.main(test=False) == 1
    assert "no event is called promted" in capsys.readouterr().err
