"""The model servers of a cluster, as `include/node/serving.py` keeps them on their host."""

from __future__ import annotations

import os
from typing import Any

from sqltune import node
from sqltune.config.cluster import Host
from sqltune.config.plan import Site
from sqltune.serving.client import Endpoint


class ServingHook:
    """Starts, stops and switches what a cluster serves.

    :param site: the cluster, and the version of the scripts there.
    :param dtype: type of the served weights.
    """

    def __init__(self, site: Site, dtype: str) -> None:
        s = site.cluster.serving
        self.site, self.settings = site, s
        self.host: Host = site.cluster.host(s.host)
        self.api_key = os.environ.get(s.api_key_env) if s.api_key_env else None
        self.want = {
            "folder": f"{site.cluster.work_dir}/serving",
            "bind": s.bind,
            "controller_port": s.controller_port,
            "api_port": s.api_port,
            "worker_ports": list(s.worker_ports),
            "ready_timeout": s.ready_timeout,
            "drain_timeout": s.drain_timeout,
            "dtype": dtype,
            "device": "cpu" if site.cluster.accelerator == "cpu" else "cuda",
            "threads": s.threads,
        }

    def _do(self, verb: str, timeout: float, **more: Any) -> dict[str, Any]:
        secret = {"SQLTUNE_API_KEY": self.api_key} if self.api_key else {}
        return node.run(
            self.site, self.host, "serving.py", verb, self.want | more, timeout=timeout, env=secret
        )

    def up(self, name: str, model: str) -> dict[str, Any]:
        """Serve one more model; back when it has answered a real prompt. `HostError` with its log when it does not."""
        return self._do("up", self.settings.ready_timeout + 60, name=name, model=model)

    def down(self, name: str) -> dict[str, Any]:
        """Stop serving a model."""
        return self._do("down", 180, name=name)

    def switch(self, model: str) -> dict[str, Any]:
        """Serve another model under the public name, without a request that fails; `HostError` when it does not answer, and the old one serves on."""
        return self._do(
            "switch",
            self.settings.ready_timeout + self.settings.drain_timeout + 180,
            name=self.settings.model_name,
            model=model,
        )

    def status(self) -> dict[str, Any]:
        """What is served: `serving` by public name, `running`, `api`."""
        return self._do("status", 60)

    def endpoint(self, name: str) -> Endpoint:
        """Where a model answers."""
        return Endpoint(self.settings.url, name, self.api_key)
