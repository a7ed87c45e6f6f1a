"""Hosts that agree, and hosts that do not."""

from __future__ import annotations

import pytest

from sqltune.tasks import preflight
from ssh_gang.errors import HostError


def facts(host, **more):
    return {
        "host": host,
        "address": f"10.0.0.{(host[-1] == 'b' and 2) or 1}",
        "base_model_hash": "same",
        "versions": {"torch": "2.13.0"},
    } | more


def test_the_masters_address(plan):
    assert preflight.master_ip(plan, [facts("host-b"), facts("host-a")]) == "10.0.0.1"


def test_hosts_that_differ_are_named(plan):
    with pytest.raises(
        HostError,
        match=r"(?s)base_model_hash differs .*host-b: other.*versions differs .*host-b: \{'torch': '2.9'\}",
    ):
        preflight.master_ip(
            plan, [facts("host-a"), facts("host-b", base_model_hash="other", versions={"torch": "2.9"})]
        )
