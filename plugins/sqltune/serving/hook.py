"""The model servers of a cluster, as `include/node/serving.py` runs them on the serving host."""

from __future__ import annotations

import logging
from typing import Any, Literal

from sqltune import node
from sqltune.config.cluster import Host
from sqltune.config.plan import Site
from sqltune.errors import ConfigError
from sqltune.node_contracts.api_keys import VARIABLE, formatted
from sqltune.node_contracts.serving import SERVING, ServingRequest, ServingResponse, ServingSettings
from sqltune.node_contracts.trial import TrialTerms
from sqltune.serving.client import Endpoint

log = logging.getLogger(__name__)

Action = Literal["up", "down", "switch", "trial", "end_trial", "status"]
STATUS_TIME, STOP_TIME, LOAD_MARGIN = 60.0, 180.0, 60.0
"""Seconds for a report, for stopping a model, and beside `ready_timeout` for starting the servers."""


class ServingHook:
    """Starts, stops and switches what a cluster serves.

    Args:
        site: The cluster, and the version of the scripts on its hosts.
        dtype: Data type of the served weights, such as bfloat16.
        base_model: Folder of the base model, where its adapters are served unmerged.
        base_model_hash: Expected hash of its files; empty: not compared.
    """

    def __init__(self, site: Site, dtype: str, base_model: str = "", base_model_hash: str = "") -> None:
        self.site, self.settings = site, site.cluster.serving
        self.host: Host = site.cluster.serving_host
        self.server_settings = server_settings(site, dtype, base_model, base_model_hash)

    @property
    def engine(self) -> str:
        """What the answers of a model that is started now depend on."""
        return self.server_settings.engine_label

    def up(self, name: str, model: str) -> ServingResponse:
        """Serve one more model; returns once it has answered a prompt.

        Args:
            name: Name to serve it under.
            model: Its folder on the host; of the adapter where they are served unmerged.

        Raises:
            ConfigError: The cluster file names a variable for API keys, and it holds none.
            HostError: The model did not answer; the message holds the end of its log.
        """
        return self._call("up", self.settings.ready_timeout + LOAD_MARGIN, name=name, model=model)

    def down(self, name: str) -> ServingResponse:
        """Stop serving a model."""
        return self._call("down", STOP_TIME, name=name)

    def switch(self, model: str, version: int, run: str) -> ServingResponse:
        """Serve another model under the public name, without a failed request.

        Args:
            model: Its folder on the host; of the adapter where they are served unmerged.
            version: Its number; responses name it and the run.
            run: The run that trained it.

        Raises:
            ConfigError: As for `up`.
            HostError: The model did not answer; the old one serves on.
        """
        # The candidate of a trial is drained first, and then the model that was served.
        seconds = self.settings.ready_timeout + 2 * self.settings.drain_timeout + STOP_TIME
        name = self.settings.model_name
        return self._call("switch", seconds, name=name, model=model, version=version, run=run)

    def begin_trial(self, model: str, version: int, run: str, terms: TrialTerms) -> ServingResponse:
        """Try a model beside the one that is served publicly; a trial of this id that goes on is kept.

        Args:
            model: Its folder on the host.
            version: Its number; responses name it and the run.
            run: The run that trained it.
            terms: What the trial is to be.

        Raises:
            ConfigError: As for `up`.
            HostError: The model did not answer, or nothing is served that it could be compared with.
        """
        fields = {"name": self.settings.model_name, "model": model, "version": version, "run": run}
        # That of another run is ended first.
        seconds = self.settings.ready_timeout + self.settings.drain_timeout + STOP_TIME
        return self._call("trial", seconds, trial=terms, **fields)

    def end_trial(self, trial_id: str = "") -> ServingResponse:
        """End the host's trial, if there is one, and stop its candidate unless that was promoted.

        What the candidate has begun to answer is waited for, `drain_timeout` at most.

        Args:
            trial_id: The only trial that is ended (`TrialTerms.id`); empty: whichever there is.
        """
        return self._call("end_trial", self.settings.drain_timeout + STOP_TIME, trial_id=trial_id)

    def status(self) -> ServingResponse:
        """What is served."""
        return self._call("status", STATUS_TIME)

    def endpoint(self, name: str, worker: str) -> Endpoint:
        """Where the worker of a served name answers.

        Args:
            name: The served name.
            worker: The only worker whose answers count; empty: whichever has the name.
        """
        return Endpoint(self.settings.url, name, self.settings.api_key, worker)

    def _call(self, action: Action, seconds: float, **fields: Any) -> ServingResponse:
        request = ServingRequest(action=action, settings=self.server_settings, **fields)
        keys = self._keys(action)
        secret = {VARIABLE: formatted(keys)} if keys else {}
        return node.run(self.site, self.host, SERVING, request, time_limit=seconds, env=secret)

    def _keys(self, action: Action) -> dict[str, str]:
        """The API keys, which stopping and reporting do not need: the host keeps those that it has."""
        try:
            return self.settings.api_keys
        except ConfigError as e:
            if action in ("up", "switch", "trial"):
                raise
            log.warning("[%s] the API keys of the host stay as they are: %s", self.host.name, e)
            return {}


def server_settings(
    site: Site, dtype: str, base_model: str = "", base_model_hash: str = ""
) -> ServingSettings:
    """The cluster file's settings of the model servers, as the host needs them.

    Args:
        site: The cluster.
        dtype: Data type of the served weights.
        base_model: As for `ServingHook`.
        base_model_hash: As for `ServingHook`.
    """
    serving = site.cluster.serving
    if not serving.is_unmerged:
        base_model = base_model_hash = ""
    return ServingSettings(
        folder=f"{site.cluster.work_dir}/serving",
        bind=serving.bind,
        controller_port=serving.controller_port,
        api_port=serving.api_port,
        worker_ports=serving.worker_ports,
        public_name=serving.model_name,
        ready_timeout=serving.ready_timeout,
        drain_timeout=serving.drain_timeout,
        dtype=dtype,
        # A ROCm build of torch calls its GPUs cuda too.
        device="cpu" if site.cluster.accelerator == "cpu" else "cuda",
        threads=serving.threads,
        num_gpus=serving.num_gpus,
        max_gpu_memory=serving.max_gpu_memory,
        engine=serving.engine,
        deterministic=serving.deterministic,
        cache_gib=serving.cache_gib,
        base_model=base_model,
        base_model_hash=base_model_hash,
        limits=serving.limits,
        log_prompts=serving.log_prompts,
        requires_key=bool(serving.api_key_env),
    )
