"""How Airflow shows the page."""

from __future__ import annotations

import pytest

from sqltune.ui.app import STATIC
from sqltune_plugin import SqltunePlugin, views


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
