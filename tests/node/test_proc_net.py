"""Sockets as the kernel's tables show them."""

from __future__ import annotations

import socket

from proc_net import ESTABLISHED, LISTEN, inodes


def test_a_listener_is_found_by_its_port(server):
    assert len(inodes(server.getsockname()[1], LISTEN)) == 1


def test_an_open_connection_is_found_by_its_servers_port(server):
    port = server.getsockname()[1]
    assert inodes(port, ESTABLISHED) == []
    with socket.create_connection(server.getsockname()):
        assert len(inodes(port, ESTABLISHED)) == 1
