"""The guard that keeps tests from the network."""

from __future__ import annotations

import socket

import pytest

from tests.network_guard import is_allowed


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.213.55.11"])
def test_loopback_and_the_labs_hosts_are_allowed(host):
    assert is_allowed(socket.SOCK_STREAM, socket.AF_INET, (host, 80))


@pytest.mark.parametrize("host", ["192.0.2.1", "10.0.0.1", "example.com"])
def test_other_machines_are_refused(host):
    assert not is_allowed(socket.SOCK_STREAM, socket.AF_INET, (host, 80))


def test_a_socket_file_is_allowed():
    assert is_allowed(socket.SOCK_STREAM, socket.AF_UNIX, "/tmp/a.sock")
