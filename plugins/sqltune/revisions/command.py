"""What `sqltune revisions` does: list the revisions of the watched dataset, or train chosen ones."""

from __future__ import annotations

from collections.abc import Sequence

from sqltune.config.watched import watched
from sqltune.errors import ConfigError
from sqltune.records import revisions as records
from sqltune.records.revisions import Feed, Revision
from sqltune.revisions.history import follow
from sqltune.revisions.starting import AirflowLogin, StartError, chosen, start


def run(commits: Sequence[str], *, train: bool, refresh: bool, login: AirflowLogin, dag_id: str) -> list[str]:
    """Return the lines to print: a revision each, or the ids of the runs that were started.

    Args:
        commits: Those that are meant, maybe abbreviated; none means all.
        train: Whether a run is started for each.
        refresh: Whether the hub is asked first.
        login: Where Airflow is, and who is asking.
        dag_id: The DAG that trains.

    Raises:
        SqltuneError: The dataset is not configured, a commit is not recorded, or the hub or Airflow refuses.
    """
    dataset = watched()
    if dataset is None:
        raise ConfigError(
            ["SQLTUNE_RECIPE, SQLTUNE_CLUSTER: the default recipe or cluster has mistakes: correct them"]
        )
    feed = Feed(dataset.cluster, dataset.recipe, dataset.dataset_repo, dataset.branch)
    if refresh:
        follow(feed, dataset.hub_endpoint, "cli")
    listed = records.listed(feed)
    selected = chosen(listed, commits) if commits else listed
    if not train:
        return [_line(revision) for revision in selected]
    if not commits:
        raise StartError("--train: no commit is named: sqltune revisions --train A B C")
    return start(login, dag_id, selected)


def _line(revision: Revision) -> str:
    state = "trained" if revision.is_trained else revision.state.value
    tags = f" [{', '.join(revision.tags)}]" if revision.tags else ""
    columns = (revision.commit[:12], f"{revision.date:%Y-%m-%d %H:%M}", f"{state:<8}", revision.title + tags)
    return "  ".join([*columns, revision.run_id or ""]).rstrip()
