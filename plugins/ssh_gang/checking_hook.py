"""Airflow's SSH hook, which checks every host key."""

from __future__ import annotations

from typing import Any

from airflow.providers.ssh.hooks.ssh import SSHHookAsync


class CheckingHook(SSHHookAsync):
    """Airflow's hook, without its ways to skip the check of the host key.

    Its own module, because it takes paramiko with it: only who opens a connection imports it.

    Raises:
        ValueError: The Connection checks no host key; when a connection is opened.
    """

    def _parse_extras(self, conn: Any) -> None:
        super()._parse_extras(conn)
        if self.known_hosts == "none":
            raise ValueError(
                "checks no host key: give it the host's key (host_key or known_hosts) in place of "
                "no_host_key_check"
            )
