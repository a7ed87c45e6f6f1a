"""How Airflow shows the page."""

from __future__ import annotations

import pytest

from sqltune.ui.app import STATIC
from sqltune_plugin import SqltunePlugin, views

WEBHOOK = "SQLTUNE_WEBHOOK_SECRET"


def served() -> list[str]:
    """The names of the apps that Airflow's api-server gets."""
    return [app["name"] for app in SqltunePlugin().fastapi_apps]


def test_the_api_server_gets_the_pages_api(monkeypatch):
    monkeypatch.delenv(WEBHOOK, raising=False)
    assert served() == ["sqltune"]


def test_the_webhook_comes_first_where_it_has_a_secret(monkeypatch):
    monkeypatch.setenv(WEBHOOK, "secret")
    assert served() == ["sqltune-webhook", "sqltune"]


def test_a_webhook_whose_secret_cannot_be_read_costs_the_page_nothing(monkeypatch, caplog):
    monkeypatch.delenv(WEBHOOK, raising=False)
    monkeypatch.setenv(f"{WEBHOOK}_CMD", "false")
    assert served() == ["sqltune"]
    assert "the hub's webhook is not served: " in caplog.text
    assert f"{WEBHOOK}_CMD: false exited with 1" in caplog.text


def test_the_page_is_a_part_of_airflows_own_by_default():
    assert [app["destination"] for app in SqltunePlugin.react_apps] == ["dag_run", "nav"]
    assert SqltunePlugin.external_views == []


def test_a_frame_takes_its_place():
    apps, frames = views("frame")
    assert apps == []
    assert [frame["href"] for frame in frames] == ["sqltune/frame/{DAG_ID}/{RUN_ID}", "sqltune/frame"]


def test_the_page_can_be_off():
    assert views("off") == ([], [])


def test_another_value_is_refused_and_the_error_lists_the_values():
    with pytest.raises(ValueError, match="SQLTUNE_PAGE is 'yes', expected tab, frame or off"):
        views("yes")


@pytest.mark.parametrize("page", ["tab", "frame"])
def test_addresses_respect_the_path_of_airflows_base_url(page):
    for view in (view for group in views(page) for view in group):
        assert not view.get("bundle_url", view.get("href")).startswith("/")


def test_the_app_defines_a_component_under_each_name_that_airflow_looks_for():
    bundle = (STATIC / "sqltune.js").read_text()
    assert all(f'"{app["name"]}"' in bundle or f"{app['name']}:" in bundle for app in views("tab")[0])
