"""What a failed run failed of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqltune.records import checkups, milestones
from sqltune.records.attempts import PROBE
from sqltune.records.milestones import RecordedMilestone
from sqltune.records.types import from_timestamp
from sqltune.ui.gang_contracts import Cause, Failure, FailureAnswer
from sqltune.ui.remedies import remedy
from ssh_gang.event import GangEvent
from ssh_gang.milestone import Kind, Milestone


def failure(key: str) -> FailureAnswer:
    """Return what a run failed of: what happened last must be the failure of a gang or of preflight."""
    recorded = milestones.of_run(key)
    refused = _refused_hosts(key, _began(recorded[-1:]))
    return FailureAnswer(failure=refused or gang_failure(recorded))


def _began(recorded: list[RecordedMilestone]) -> datetime | None:
    return from_timestamp(recorded[0].milestone.at) if recorded else None


def _refused_hosts(key: str, since: datetime | None) -> Failure | None:
    """The hosts that preflight refused, where nothing was started afterwards."""
    refused = [
        (checkup, [check.problem for check in checkup.checks if check.problem])
        for checkup in checkups.of_run(key)
        if since is None or checkup.at > since
    ]
    refused = [(checkup, problems) for checkup, problems in refused if problems]
    if not refused:
        return None
    reason = "\n".join(f"{checkup.host}: {problem}" for checkup, found in refused for problem in found)
    first = refused[0][0]
    return _failure(task="preflight", at=first.at, cause="preflight", host=first.host, reason=reason)


def gang_failure(recorded: Sequence[RecordedMilestone]) -> Failure | None:
    """Return what the newest attempt of a run's gangs failed of, or None where it has not failed.

    Args:
        recorded: The run's milestones, in the order in which they happened.
    """
    if not recorded:
        return None
    newest = list(dict.fromkeys((one.task, one.attempt) for one in recorded))[-1]
    moments: dict[Kind, Milestone] = {}
    for one in recorded:
        if (one.task, one.attempt) == newest:
            moments.setdefault(one.milestone.kind, one.milestone)
    task, attempt = newest
    end = moments["ended"].end if "ended" in moments else None
    failed = moments.get("failed")
    # A strategy that fails is out; the run goes on, unless the task failed too.
    if failed or (end and not end.ok and task != PROBE):
        return _failed(task, attempt, moments, end)
    if "killed" in moments and not end:
        at = from_timestamp(moments["killed"].at)
        return _failure(task=task, attempt=attempt, at=at, cause="person", reason="")
    return None


def _failed(task: str, attempt: str, moments: dict[Kind, Milestone], end: GangEvent | None) -> Failure:
    failed = moments.get("failed")
    moment = moments.get("stopping") or moments.get("ended") or failed
    assert moment is not None
    reason = end.reason if end and not end.ok else failed.reason if failed else ""
    progress = end.progress if end else None
    errors = list(end.first_errors) if end else []
    tail = end.tail if end else ""
    return _failure(
        task=task,
        attempt=attempt,
        at=from_timestamp(moment.at),
        cause=_cause(reason, end),
        host=end.failed_host if end else None,
        rank=end.failed_rank if end else None,
        exit=end.failed_exit if end else "",
        step=progress.step if progress else None,
        total=progress.total if progress else None,
        reason=reason,
        first_errors=errors,
        tail=tail,
        remedy=remedy(reason, *errors, tail),
        retry=failed.advice if failed else "",
    )


def _cause(reason: str, end: GangEvent | None) -> Cause:
    if end is None:
        return "launch"
    if end.ok:
        return "evidence"
    if "(limit " in reason:
        return "limit"
    return "host" if end.failed_rank is None else "rank"


def _failure(*, task: str, at: datetime, cause: Cause, reason: str, **known: object) -> Failure:
    """A failure; what is not known is empty."""
    unknown = dict.fromkeys(("attempt", "host", "rank", "step", "total", "remedy"))
    empty = {"exit": "", "first_errors": [], "tail": "", "retry": ""}
    fields = {"task": task, "at": at, "cause": cause, "reason": reason}
    return Failure.model_validate(unknown | empty | fields | known)
