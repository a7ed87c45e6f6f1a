"""Which run works on a cluster now."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from sqltune.records import claims, runs
from sqltune.records.claims import Owner
from tests.plans import run_plan

pytestmark = pytest.mark.usefixtures("engine")

A, B, C = (Owner("retrain", name) for name in "abc")


def test_of_two_runs_one_gets_the_claim():
    assert claims.take("left", A).owner == A
    assert claims.take("left", B).owner == A


def test_of_many_at_once_one_gets_the_claim():
    owners = [Owner("retrain", str(number)) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        holding = set(pool.map(lambda owner: claims.take("left", owner).owner, owners))
    assert len(holding) == 1


def test_a_run_that_claims_again_has_it_still():
    claims.take("left", A)
    assert claims.take("left", A).owner == A


def test_another_cluster_is_another_claim():
    claims.take("left", A)
    assert claims.take("right", B).owner == B


def test_a_run_has_one_claim():
    """A scheduled run that was cleared plans for the cluster that is the default now."""
    claims.take("left", A)
    claims.take("right", A)
    assert claims.take("left", B).owner == B


def test_a_dead_runs_claim_is_taken_over():
    dead = claims.take("left", A)
    assert claims.take_over(dead, B).owner == B


def test_a_claim_that_was_renewed_since_it_was_read_is_not_taken_over():
    """Its run had failed, and was cleared at that moment."""
    read = claims.take("left", A)
    claims.take("left", A)
    assert claims.take_over(read, B).owner == A


def test_of_two_that_take_over_one_gets_it():
    dead = claims.take("left", A)
    claims.take_over(dead, B)
    assert claims.take_over(dead, C).owner == B


def test_the_run_ahead_is_the_one_that_has_the_claim():
    first, second = run_plan("first"), run_plan("second")
    runs.put_plan(second)
    assert claims.ahead_of(second.key) is None
    owner = Owner("retrain", first.run_id)
    claims.take(second.cluster_name, owner)
    assert claims.ahead_of(second.key) == owner


def test_no_run_is_ahead_of_the_one_that_has_the_claim():
    plan = run_plan("first")
    runs.put_plan(plan)
    claims.take(plan.cluster_name, Owner("retrain", plan.run_id))
    assert claims.ahead_of(plan.key) is None
