"""Start, stop and switch the model servers of this host (`model_servers`).

    python serving.py '{"action": "up", "name": …, "model": …, "settings": {…}}'      serve one more model
    python serving.py '{"action": "down", "name": …, "settings": {…}}'                stop serving it
    python serving.py '{"action": "switch", "name": …, "model": …, "settings": {…}}'  replace a served model
    python serving.py '{"action": "trial", "name": …, "model": …, "trial": {…}, …}'   try one beside it
    python serving.py '{"action": "end_trial", "settings": {…}}'                      end that
    python serving.py '{"action": "status", "settings": {…}}'                         report

Prints RESULT once the model has answered a prompt.
"""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Sequence

from model_servers import trial
from model_servers.stack import Stack
from model_servers.switch import Switched, switch
from sqltune.node_contracts.serving import SERVING, ServingRequest, ServingResponse


def handle(request: ServingRequest) -> ServingResponse:
    """Do what is requested, and report what is served afterwards."""
    stack = Stack(request.settings)
    stack.layout.folder.mkdir(parents=True, exist_ok=True)
    # A manual promotion and a nightly run may come at the same time: one after the other.
    with (stack.layout.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if request.action != "status":
            trial.end_overdue(stack)
        if request.action == "up":
            ready_after = stack.up(request.name, request.model)
            return status(stack, ready_after=round(ready_after, 1))
        if request.action == "switch":
            switched = _switch(stack, request)
            return status(
                stack,
                ready_after=round(switched.ready_after, 1),
                replaced=switched.replaced,
                drained_after=round(switched.drained_after, 1),
            )
        if request.action == "trial":
            return status(stack, ready_after=round(_begin_trial(stack, request), 1))
        if request.action == "end_trial":
            trial.end(stack, request.trial_id)
        if request.action == "down":
            stack.down(request.name)
        return status(stack)


def _switch(stack: Stack, request: ServingRequest) -> Switched:
    switched = switch(
        stack,
        request.name,
        request.model,
        request.version,
        request.run,
        # Two models have room, and not three.
        make_room=lambda program: trial.end_other(stack, program),
    )
    # Its candidate is served itself now.
    trial.end(stack)
    return switched


def _begin_trial(stack: Stack, request: ServingRequest) -> float:
    if request.trial is None:
        sys.exit("trial: missing: say what the trial is to be")
    return trial.begin(stack, request.name, request.model, request.trial, request.version, request.run)


def status(
    stack: Stack,
    *,
    ready_after: float | None = None,
    replaced: Sequence[str] = (),
    drained_after: float | None = None,
) -> ServingResponse:
    """What is served now, and the times that the action took."""
    return ServingResponse(
        serving={name: w.model for w in stack.workers().values() for name in w.names},
        engines={name: w.engine_label for w in stack.workers().values() for name in w.names},
        workers={name: program for program, w in stack.workers().items() for name in w.names},
        running=stack.supervisor.running(),
        api=f"{stack.layout.api_url}/v1",
        ready_after=ready_after,
        trial=trial.report(stack),
        replaced=list(replaced),
        drained_after=drained_after,
    )


if __name__ == "__main__":
    SERVING.main(handle)
