"""The gang of a task: its name and what fences off its other attempts come from Airflow's task instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ssh_gang.loss import LossPolicy
from ssh_gang.model import MAX_LOG_GIB, Gang, Limits, Member, gang_name

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import RuntimeTaskInstanceProtocol


def task_gang(
    context: Context,
    attempt: str,
    *,
    installation: str,
    spec_hash: str,
    root: str,
    members: list[Member],
    limits: Limits,
    exclusive: bool,
    progress_pattern: str | None,
    checkpoint_pattern: str | None = None,
    loss: LossPolicy | None = None,
    max_log_gib: float = MAX_LOG_GIB,
) -> Gang:
    """Return the gang of a task: its name, fencing token, generation and owner come from the task instance.

    Args:
        context: The task's context.
        attempt: Names the attempt; the gang's name does not hold it.
        installation: Names this Airflow on the hosts.
        spec_hash: Hash of what is run; what ran for another hash is not taken for this one's.
        root: Folder on each host under which gangs are kept.
        members: What runs on each host.
        limits: How long the parts of the gang's life may take.
        exclusive: Whether no other exclusive gang may run on the hosts.
        progress_pattern: Finds progress in a log line; None where the log has none.
        checkpoint_pattern: Finds a checkpoint in a log line; None where the log has none.
        loss: What becomes of a training whose loss is bad; None: it is not looked at.
        max_log_gib: GiB of each host's output that are recorded.
    """
    ti = context["ti"]
    map_index = map_index_of(ti)
    return Gang(
        name=gang_name(ti.dag_id, ti.task_id, ti.run_id, installation, map_index),
        attempt=attempt,
        root=root,
        # A task instance's id is a UUIDv7. Its first 48 bits are the time at which Airflow made this try,
        # by one clock for all tries, Clears included.
        fencing_token=ti.id.int >> 80,
        # Airflow raises max_tries when a person clears the task, and leaves it when it retries by itself.
        generation=ti.max_tries,
        spec_hash=spec_hash,
        exclusive=exclusive,
        owner={
            "dag_id": ti.dag_id,
            "task_id": ti.task_id,
            "run_id": ti.run_id,
            "airflow": installation,
        }
        | ({} if map_index < 0 else {"map_index": str(map_index)}),
        members=members,
        limits=limits,
        max_log_gib=max_log_gib,
        progress_pattern=progress_pattern,
        checkpoint_pattern=checkpoint_pattern,
        loss=loss,
    )


def map_index_of(ti: RuntimeTaskInstanceProtocol) -> int:
    """Return the index of a mapped task; -1 where it is not mapped."""
    return -1 if ti.map_index is None else ti.map_index
