"""The estimate of a run beside what the run then took, on the lab's hosts."""

from __future__ import annotations

import pytest

from sqltune.records import runs, trainings
from ssh_gang.model import slug
from tests.chain.conftest import DAG, FORM

STEPS = 40


def took_and_estimated(lab, seed: int) -> tuple[float, float | None]:
    """Train; the seconds of the training, and those that were estimated before it."""
    run = lab.airflow.trigger(DAG, FORM | {"max_steps": STEPS, "seed": seed, "promote": "hold"})
    state, tasks = lab.until_ended(run)
    assert state == "success", tasks
    taken = trainings.of_run(slug(run))
    assert taken is not None
    assert taken.seconds is not None
    return taken.seconds, runs.estimate(slug(run))["seconds"]


# Two whole runs more.
@pytest.mark.chaos
def test_once_a_run_was_made_the_estimate_of_the_next_one_is_within_a_fifth(lab):
    took_and_estimated(lab, seed=41)
    took, estimated = took_and_estimated(lab, seed=42)
    print(f"estimated {estimated:.1f} s, took {took:.1f} s")
    assert estimated == pytest.approx(took, rel=0.2)
