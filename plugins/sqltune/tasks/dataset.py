"""Task `download_dataset`: the pinned commit on each host."""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from sqltune import node
from sqltune.config.plan import RunPlan
from sqltune.errors import DatasetError
from sqltune.records.files import Record

log = logging.getLogger(__name__)


def download_dataset(plan: dict[str, Any], host: str) -> dict[str, Any]:
    """The pinned commit on one host: fetched, verified, split by database."""
    p = RunPlan.model_validate(plan)
    h = p.cluster.host(host)
    want = {
        "repo": p.dataset_repo,
        "commit": p.dataset_commit,
        "files": p.recipe.dataset_files,
        "endpoint": p.cluster.host_env()["HF_ENDPOINT"],
        "folder": p.data_dir,
        "split_dir": p.split_dir,
        "percent": p.recipe.held_out_percent,
        "questions": p.eval_questions if h == p.cluster.master else 0,
        "max_length": p.training.max_length,
        "base_model": p.base_model,
    }
    try:
        result = node.run(p, h, "fetch_dataset.py", want, timeout=3600)
    except DatasetError as e:
        # The same rows are the same at the next try.
        raise AirflowFailException(str(e)) from e
    questions = result.pop("held_out")
    log.info(
        "[%s] %s rows, longest %s tokens, no database both in training and held out: %s",
        host,
        p.dataset_commit[:12],
        result["longest"],
        result["counts"],
    )
    if questions:
        Record.of(p.key).put("held_out", questions)
    # Where it lies on this host, as every host calls it.
    return result | {"host": host, "train_path": p.train_path}
