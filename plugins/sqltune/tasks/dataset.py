"""Task `download_dataset`: the pinned commit on each host."""

from __future__ import annotations

import logging

from airflow.sdk.exceptions import AirflowFailException

from sqltune import node
from sqltune.alerts.event import Event
from sqltune.alerts.facts import run_link
from sqltune.alerts.notifier import tell
from sqltune.config.cluster import Host
from sqltune.config.plan import RunPlan
from sqltune.contracts import DownloadedDataset, typed_task
from sqltune.dataset.data_check import excesses, summary
from sqltune.errors import DatasetError
from sqltune.evaluation import stored
from sqltune.evaluation.suites import held_out
from sqltune.node_contracts.data_check import DataCheck
from sqltune.node_contracts.dataset import FETCH_DATASET, FetchRequest
from sqltune.records import data_checks
from sqltune.tasks import estimates

log = logging.getLogger(__name__)

DOWNLOAD_TIME = 3600.0
"""Seconds for downloading and preparing the dataset."""


@typed_task
def download_dataset(plan: RunPlan, host: str) -> DownloadedDataset:
    """Download, verify and split the pinned commit on one host.

    The master's response holds the sampled held-out questions and the data check, which become part of the
    run's record.

    Raises:
        AirflowFailException: The rows cannot be used, or exceed a limit of the recipe; a retry would read the
            same ones.
    """
    target = plan.cluster.host(host)
    try:
        response = node.run(plan, target, FETCH_DATASET, _request(plan, target), time_limit=DOWNLOAD_TIME)
    except DatasetError as e:
        raise AirflowFailException(str(e)) from e
    log.info(
        "[%s] commit %s: %s tokens, %s of them in the longest example; no database is both in training and "
        "held out: %s",
        host,
        plan.dataset_commit[:12],
        response.tokens,
        response.longest,
        response.counts,
    )
    if response.held_out:
        stored.put_held_out(plan.key, held_out(response.held_out))
    if response.check:
        data_checks.put(plan.key, response.check)
        _judge(plan, response.check)
    prepared = response.model_dump(exclude={"held_out", "check", "train_path"})
    # With ~ in place of this host's home, so that it is right on every host.
    downloaded = DownloadedDataset(**prepared, host=host, train_path=plan.train_path)
    if target == plan.cluster.master:
        estimates.refine(plan, downloaded)
    return downloaded


def _judge(plan: RunPlan, check: DataCheck) -> None:
    """Log what the revision changes, and stop where it exceeds a limit and the recipe says so."""
    log.info("%s", summary(check))
    limits = plan.recipe.data_limits
    exceeded = "\n".join(f"  - {excess.message}" for excess in excesses(check, limits))
    if not exceeded:
        return
    if limits.on_excess == "stop" and not plan.accept_data:
        link = run_link("text2sql_retrain", plan.run_id)
        tell(Event.DATA_CHECK, plan.run_id, link, {"cause": exceeded, "cluster": plan.cluster_name})
        raise AirflowFailException(
            f"the dataset exceeds the limits of recipe {plan.recipe_name}; nothing was trained:\n{exceeded}\n"
            "Look at the data check on the run's page. If the data is right, trigger the run again with "
            f"dataset_revision {plan.dataset_commit[:12]} and accept_data, or raise the limit in data_limits"
        )
    log.warning("the dataset exceeds limits of recipe %s:\n%s", plan.recipe_name, exceeded)


def _request(plan: RunPlan, host: Host) -> FetchRequest:
    return FetchRequest(
        repo=plan.dataset_repo,
        commit=plan.dataset_commit,
        files=plan.recipe.dataset_files,
        endpoint=plan.cluster.host_env()["HF_ENDPOINT"],
        folder=plan.data_dir,
        split_dir=plan.split_dir,
        percent=plan.recipe.held_out_percent,
        questions=plan.eval_questions if host == plan.cluster.master else 0,
        previous_commit=plan.previous_commit if host == plan.cluster.master else None,
        previous_folder=plan.data_dir_of(plan.previous_commit) if plan.previous_commit else "",
        max_length=plan.training.max_length,
        base_model=plan.base_model,
    )
