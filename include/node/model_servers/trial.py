"""A trial of a candidate: it is served beside the champion, and the front door sends it requests."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace

from door.trial_files import COUNTS_FILE, FILE, SHADOW, Arm, Trial, read_counts, read_trial
from model_servers.stack import Stack
from model_servers.switch import drain, own_name, require_model, start_beside
from sqltune.node_contracts.trial import TrialArm, TrialReport, TrialTerms

DOOR_TIMEOUT = 10.0
"""Seconds within which the front door must have taken a trial up."""
KEPT = 3600.0
"""Seconds after its end that a trial's candidate stays up for its promotion, where nobody ends the trial."""


def begin(stack: Stack, name: str, model: str, terms: TrialTerms, version: int | None, run: str) -> float:
    """Try a model beside the one that answers to a name; a trial of this id and model that has begun is kept.

    It may have ended meanwhile: a retry then reads what it has shown. Its worker is the one that a switch
    would start: a promotion finds it running.

    Returns:
        Seconds until the candidate answered a prompt.
    """
    require_model(stack, model)
    stack.require_usable()
    program = stack.program(name, model)
    _require_champion(stack, name, program)
    trial = _known(stack)
    if trial is None or (trial.id, trial.model_hash) != (terms.id, terms.model_hash):
        end(stack)
        trial = _planned(name, program, terms)
        # Before the candidate is up: whatever happens now, `end` finds it.
        trial.write(stack.layout.folder)
    ready_after = start_beside(stack, program, name, model)
    stack.rename(program, [trial.candidate], version=version, run=run)
    if not trial.began:
        now = time.time()
        trial = replace(trial, began=now, until=now + terms.seconds)
        trial.write(stack.layout.folder)
    _require_door(stack, trial)
    return ready_after


def end(stack: Stack, trial_id: str = "") -> None:
    """End a trial, and stop its candidate unless that answers to the public name by now.

    The requests that a canary's candidate has begun to answer are waited for, `drain_timeout` at most. Where
    this is cut off, the next call goes on with it. Without a trial that can be read, workers that only a
    trial could have left are stopped.

    Args:
        stack: The host's servers.
        trial_id: The only trial that is ended; empty: whichever there is.
    """
    trial, folder = _known(stack), stack.layout.folder
    if trial and trial_id not in ("", trial.id):
        return
    if trial:
        # As one that has not begun: the door sends the candidate nothing more, and nobody goes on with it.
        replace(trial, began=0, until=0).write(folder)
    for program in _candidates(stack, trial):
        if trial is None or trial.mode != SHADOW:
            stack.rename(program, [])
            drain(stack, program)
        stack.remove(program)
    for file in (COUNTS_FILE, FILE):
        (folder / file).unlink(missing_ok=True)


def end_other(stack: Stack, program: str) -> None:
    """End the trial of any other candidate than this program, which needs the memory itself."""
    if program not in _candidates(stack, _known(stack)):
        end(stack)


def end_overdue(stack: Stack) -> None:
    """End a trial that nobody has ended: Airflow was away, or its run was deleted."""
    trial, file = _known(stack), stack.layout.folder / FILE
    if trial and time.time() > max(trial.until, file.stat().st_mtime) + KEPT:
        print(f"ending the trial of {trial.candidate}, which ended by itself and was left behind", flush=True)
        end(stack)


def report(stack: Stack) -> TrialReport | None:
    """What the trial of this host has shown; None where there is none, or it has not begun."""
    trial = _known(stack)
    counts = read_counts(stack.layout.folder, trial) if trial and trial.began else None
    if trial is None or counts is None:
        return None
    return TrialReport(
        id=trial.id,
        mode="canary" if trial.mode == "canary" else "shadow",
        seconds_left=round(trial.seconds_left, 1),
        champion=_arm(counts.champion),
        candidate=_arm(counts.candidate),
        same=counts.same,
        different=counts.different,
        dropped=counts.dropped,
    )


def _known(stack: Stack) -> Trial | None:
    try:
        return read_trial(stack.layout.folder)
    except (ValueError, TypeError):
        return None


def _candidates(stack: Stack, trial: Trial | None) -> list[str]:
    """Programs of the workers that serve a trial alone; None: a trial of which nothing is known."""
    public_name = stack.settings.public_name

    def is_candidate(program: str, names: list[str]) -> bool:
        if trial is None:
            return names == [own_name(public_name, program)]
        # Without a name where its end was cut off.
        return names in ([], [trial.candidate]) and own_name(trial.name, program) == trial.candidate

    return [program for program, worker in stack.workers().items() if is_candidate(program, worker.names)]


def _planned(name: str, program: str, terms: TrialTerms) -> Trial:
    return Trial(
        id=terms.id,
        mode=terms.mode,
        name=name,
        candidate=own_name(name, program),
        share=terms.share,
        answer_within=terms.answer_within,
        model_hash=terms.model_hash,
    )


def _require_champion(stack: Stack, name: str, program: str) -> None:
    serving = [p for p, worker in stack.workers().items() if name in worker.names]
    if not serving:
        sys.exit(
            f"nothing is served as {name}, so that a trial has nothing to compare with: promote a version "
            "first (text2sql_promote), then clear the task trial"
        )
    if program in serving:
        sys.exit(f"the candidate is served as {name} already: there is nothing to try")


def _require_door(stack: Stack, trial: Trial) -> None:
    """Exit where the front door that runs does not know trials: it is that of an older version."""
    folder = stack.layout.folder
    # It looks for a trial at each request.
    if _becomes(lambda: not stack.answer_error(trial.candidate) and bool(read_counts(folder, trial))):
        return
    end(stack)
    supervisorctl = f"{sys.prefix}/bin/supervisorctl -c {stack.layout.configuration_file}"
    sys.exit(
        "the front door that runs has not taken the trial up; it is of an older version of the code, which "
        f"has no trials: run `{supervisorctl} restart door` on this host when a second without new "
        "connections does no harm, then clear the task trial"
    )


def _becomes(is_so: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + DOOR_TIMEOUT
    while not is_so():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.1)
    return True


def _arm(arm: Arm) -> TrialArm:
    median = None if arm.median is None else round(arm.median, 4)
    return TrialArm(version=arm.version, answered=arm.answered, failed=arm.failed, median=median)
