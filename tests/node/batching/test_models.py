"""Which models the batched engine serves."""

from __future__ import annotations

import pytest

from batching.models import FAMILIES, TRANSFORMERS, model_problem, version_problem
from tests.conftest import ROOT


def test_the_version_is_the_one_that_is_installed_on_hosts():
    assert version_problem(TRANSFORMERS) is None
    assert f"transformers=={TRANSFORMERS}\n" in (ROOT / "include/node/requirements.txt").read_text()


def test_another_version_is_refused_with_what_to_do():
    assert "set serving.engine to fastchat" in str(version_problem("4.49.0"))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_served(family):
    assert model_problem({"model_type": family, "rope_scaling": {"type": "linear"}}) is None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"model_type": "chatglm"}, "cannot serve model_type chatglm"),
        ({"use_sliding_window": True}, "cannot serve a sliding window"),
        ({"rope_scaling": {"rope_type": "dynamic"}}, "rope_scaling of type dynamic"),
        ({"quantization_config": {"bits": 4}}, "quantised weights"),
    ],
)
def test_another_model_is_refused_with_what_to_do(changes, problem):
    message = str(model_problem({"model_type": "llama"} | changes))
    assert problem in message
    assert "set serving.engine to fastchat" in message
