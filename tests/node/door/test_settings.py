"""The door's settings, as this version and others write them."""

from __future__ import annotations

import json

from door.settings import FILE, Limits, Settings, SettingsFile


def test_settings_are_read_as_they_are_written(tmp_path):
    settings = Settings("text2sql", {"web": "hash"}, "internal", Limits(requests=9), log_prompts=True)
    (tmp_path / FILE).write_text(settings.dump())
    assert SettingsFile(tmp_path).current() == settings


def test_a_field_of_a_newer_version_is_left_aside(tmp_path):
    """A copy of the door goes on running while newer code writes its file."""
    (tmp_path / FILE).write_text(
        json.dumps({"public_name": "a", "new": 1, "limits": {"new": 1, "requests": 9}})
    )
    assert SettingsFile(tmp_path).current() == Settings("a", limits=Limits(requests=9))


def test_the_limits_are_those_of_the_cluster_file():
    """The door imports nothing of the repository, so both are written down."""
    from sqltune.node_contracts.serving import RequestLimits

    assert Limits(**RequestLimits().model_dump()) == Limits()
