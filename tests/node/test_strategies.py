"""DDP and every DeepSpeed strategy train the same model on the same rows to the same losses, on CPU."""

from __future__ import annotations

import pytest

from bench.strategies import STRATEGIES, Trained, train
from tests.conftest import NODE_PYTHON

pytestmark = [pytest.mark.slow, pytest.mark.chaos]
STEPS = 12


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> dict[str, Trained]:
    if not NODE_PYTHON.exists():
        pytest.fail(f"{NODE_PYTHON} does not exist: make setup-dev")
    folder = tmp_path_factory.mktemp("strategies")
    return {strategy: train(strategy, "tiny", STEPS, folder) for strategy in STRATEGIES}


@pytest.mark.parametrize("strategy", STRATEGIES[1:])
def test_losses_are_those_of_ddp(trained, strategy):
    """DDP computes in 32 bits, DeepSpeed in bfloat16, whose losses differ in the third digit."""
    assert trained[strategy].losses == pytest.approx(trained["ddp"].losses, rel=0.01)


def test_losses_fall(trained):
    """So that equal losses are those of a training, and not of a model that stays as it is."""
    for result in trained.values():
        assert result.losses[-1] < result.losses[0]
