"""Serve another model under a name that may be in use, without a failed request."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model_servers.adapters import require_adapter
from model_servers.ports import open_connections
from model_servers.stack import Stack
from model_servers.worker import Worker
from registrar import idle_seconds

QUIET = 3.0
"""Seconds without a connection after which a worker without a name is drained.

The API may have looked up its address at the controller just before the name moved.
"""

_LOOK = 0.5
"""Seconds since a request of a shared process that count as now: longer than between two looks at it."""


@dataclass(frozen=True, kw_only=True)
class Switched:
    """The outcome of a switch.

    Attributes:
        ready_after: Seconds until the new model answered a prompt.
        replaced: Programs of the workers that were replaced.
        drained_after: Seconds until they had answered their last request.
    """

    ready_after: float
    replaced: list[str]
    drained_after: float


def switch(
    stack: Stack,
    name: str,
    model: str,
    version: int | None = None,
    run: str = "",
    make_room: Callable[[str], None] = lambda program: None,
) -> Switched:
    """Make a model answer to a name, and remove the worker that answered to it before.

    The new worker answers a prompt under a name of its own first. When it does not answer under the public
    name, that name goes back to the old worker, and this exits. Version and run are what the front door names
    as the new model's. `make_room` is called with the new worker's program before its model is loaded.
    """
    require_model(stack, model)
    stack.require_usable()
    program = stack.program(name, model)
    make_room(program)
    others = {p: w for p, w in stack.workers().items() if p != program}
    old = [p for p, w in others.items() if name in w.names]
    # A switch that was cut off leaves a worker without a name; it may be the one to be served now.
    nameless = [p for p, w in others.items() if not w.names]
    ready_after = start_beside(stack, program, name, model)
    stack.rename(program, stack.workers()[program].names, version=version, run=run)
    _move_name(stack, program, name, old)
    drained = [drain(stack, p) for p in old]
    for p in [*old, *nameless]:
        stack.remove(p)
    return Switched(ready_after=ready_after, replaced=old, drained_after=max(drained, default=0.0))


def require_model(stack: Stack, model: str) -> None:
    """Exit where a folder holds no model, or an adapter that does not fit its base model."""
    if stack.settings.base_model:
        require_adapter(stack.settings, model)
        return
    folder = Path(model).expanduser()
    if not (folder / "config.json").is_file():
        sys.exit(
            f"{folder} holds no model: it was removed, or never merged on this host; "
            "choose another version, or train again"
        )


def own_name(name: str, program: str) -> str:
    """Name of a worker that does not answer to the public name yet."""
    return f"{name}-{program.rpartition('-')[2]}"


def start_beside(stack: Stack, program: str, name: str, model: str) -> float:
    """Start the new worker under a name of its own, beside the old one; seconds until it answered."""
    if known := stack.workers().get(program):
        if name in known.names:
            stack.serving_before = program
        else:
            stack.files.put(program, known.model_copy(update={"names": [own_name(name, program)]}))
    stack.load(program, own_name(name, program), model)
    return stack.wait_until_ready(program, stack.workers()[program].names[0])


def _move_name(stack: Stack, program: str, name: str, old: list[str]) -> None:
    """Move the name to the new worker; if it does not answer under it, move the name back and exit."""
    # Both have the name for a moment, so that every request finds a worker; the front door takes the new one.
    stack.rename(program, [name])
    for other in old:
        stack.rename(other, [])
    if not (error := stack.answer_error(name)):
        return
    for other in old:
        stack.rename(other, [name])
    outcome = "the old model serves on" if old else "nothing is served"
    stack.fail(
        program,
        f"{name}: the new model answered under its own name but not under this one ({error}); {outcome}",
    )


def drain(stack: Stack, program: str) -> float:
    """Wait until a worker without a name has answered all its requests, `drain_timeout` seconds at most.

    Looks at its connections instead of its queue: the API sends a worker three requests before the one for
    the text, and the queue counts the last one only. A process that serves others on the same port is asked.

    Returns:
        Seconds waited.
    """
    began = quiet_since = time.monotonic()
    worker = stack.workers()[program]
    while time.monotonic() - began < stack.settings.drain_timeout and time.monotonic() - quiet_since < QUIET:
        time.sleep(0.05)
        # Read after the connections, so that the quiet period begins no earlier than the last use.
        if _is_used(worker, program):
            quiet_since = time.monotonic()
    return time.monotonic() - began


def _is_used(worker: Worker, program: str) -> bool:
    if not worker.process:
        return bool(open_connections(worker.port))
    try:
        return idle_seconds(worker.url, program) < _LOOK
    except OSError:
        # It answers slowly, or is being restarted.
        return True
