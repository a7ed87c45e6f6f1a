"""The trial of a cluster file: off unless it says otherwise, and no value that means nothing."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from sqltune.config.trial import Trial


def test_without_a_word_there_is_no_trial():
    assert not Trial().is_on


def test_yamls_off_is_off():
    """YAML reads it as false."""
    values = yaml.safe_load("{mode: off}")
    assert values == {"mode": False}
    assert Trial(**values) == Trial()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("mode", value) for value in ("on", "", None, True, "Canary", "canary; reboot", ["shadow"])),
        *(("share", value) for value in (0, -0.1, 1.01, float("nan"), float("inf"), "all", None)),
        *(("minutes", value) for value in (0, -1, 4321, float("nan"), float("inf"), "1 h")),
        *(("min_requests", value) for value in (0, -5, 1.5, "many")),
        *(("max_failed_share", value) for value in (-0.01, 1.01, float("nan"))),
        *(("max_slowdown", value) for value in (0, -1, float("nan"))),
        *(("answer_within", value) for value in (0, -1, float("nan"))),
        ("shadow", True),
    ],
)
def test_a_value_that_means_nothing_is_refused_by_name(field: str, value: Any):
    with pytest.raises(ValidationError) as refused:
        Trial(**({"mode": "canary"} | {field: value}))
    assert {error["loc"][0] for error in refused.value.errors()} == {field}
