"""A host's clock compared with this machine's."""

from __future__ import annotations

import pytest

from ssh_gang.host_clock import HostClock


def test_clock_is_not_known_before_the_first_comparison():
    assert not HostClock().is_known


def test_compare_takes_the_middle_of_the_round_trip():
    clock = HostClock()
    clock.compare(asked_at=100.0, host_time=3700.1, answered_at=100.2)
    assert clock.ahead == pytest.approx(3600.0)
    assert clock.error == pytest.approx(0.1)


def test_compare_keeps_the_answer_with_the_shortest_round_trip():
    clock = HostClock()
    clock.compare(100.0, 100.1, 100.2)
    clock.compare(200.0, 300.0, 202.0)
    assert clock.ahead == pytest.approx(0.0)


def test_to_local_turns_the_hosts_time_into_this_machines():
    clock = HostClock()
    clock.compare(100.0, 3700.1, 100.2)
    assert clock.to_local(3800.0) == pytest.approx(200.0)
