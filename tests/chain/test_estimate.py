"""Trainings of forty iterations on the hosts: what was estimated of them, and what was told meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from sqltune.records import runs, trainings
from ssh_gang.model import slug
from tests.chain.conftest import DAG, FORM

# Two whole runs more, or a few.
pytestmark = pytest.mark.chaos
STEPS = 40


@dataclass(frozen=True)
class Trained:
    """A run that has trained."""

    run_id: str
    took: float
    """Seconds of its training, from the start signal to the end."""
    estimated: float | None
    """What `plan` said of them."""


def train(lab, seed: int) -> Trained:
    """Run the chain, and leave the served model as it is."""
    run = lab.airflow.trigger(DAG, FORM | {"max_steps": STEPS, "seed": seed, "promote": "hold"})
    state, tasks = lab.until_ended(run)
    assert state == "success", tasks
    taken = trainings.of_run(slug(run))
    assert taken is not None
    assert taken.seconds is not None
    return Trained(run, taken.seconds, runs.estimate(slug(run))["seconds"])


@pytest.fixture(scope="module")
def first(lab) -> Trained:
    """The run from which the next ones are estimated."""
    return train(lab, seed=41)


def test_once_a_run_was_made_the_next_one_is_estimated_by_what_that_took(lab, first):
    """docs/estimate.md has what the estimate was worth; how fast a machine is does not stay the same here."""
    second = train(lab, seed=42)
    estimated = runs.estimate(slug(second.run_id))
    rate = estimated["rate"]
    assert (rate["basis"], estimated["iterations"]) == ("recipe", STEPS)
    assert second.estimated == pytest.approx(rate["overhead"] + STEPS * rate["seconds"])
    print(f"estimated {second.estimated:.1f} s, took {second.took:.1f} s")


def test_a_loss_that_jumps_is_told_while_the_training_goes_on(lab, first):
    """The tests' recipe calls it a jump when a loss is 0.1 % above those before it."""
    told = lab.alert(first.run_id, "training loss is off")
    assert "times the median of the 20 before it" in told
    assert "What happens: the training goes on" in told
