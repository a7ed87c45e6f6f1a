"""What a watcher records of a gang, as an interface that a database or files can stand behind."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from ssh_gang.gpus import Gpu
from ssh_gang.milestone import Milestone
from ssh_gang.progress import Progress
from ssh_gang.ranks import RankReport


class RecorderUnavailable(Exception):
    """The place where records are kept does not answer; the same call may succeed later."""


class GangRecorder(Protocol):
    """Keeps what is known of one gang.

    Methods are synchronous, because they run in a thread of their own, one call at a time and in order.
    Each returns once its data is stored durably, and raises `RecorderUnavailable` or `OSError` otherwise.
    A failed call is repeated, and after a takeover another watcher may write the same data again:
    writing the same data twice must leave it there once.
    """

    def progress(self, attempt: str, at: float, progress: Progress) -> None:
        """Store one step of a training.

        Args:
            attempt: The attempt that made the step.
            at: When the watcher read it, in seconds since the epoch.
            progress: The step and its numbers.
        """

    def gpu_samples(self, attempt: str, at: float, host: str, samples: Sequence[Gpu]) -> None:
        """Store how busy and how full each GPU of a host was.

        Args:
            attempt: The attempt that ran at that time.
            at: When the watcher read it, in seconds since the epoch.
            host: Name of the host.
            samples: One entry for each GPU.
        """

    def rank_reports(self, attempt: str, host: str, reports: Sequence[RankReport]) -> None:
        """Store what ranks of a host have reported of themselves, in place of what each reported before.

        Args:
            attempt: The attempt that the ranks belong to.
            host: Name of the host.
            reports: One entry for each rank that has reported something new; `at` is by the watcher's clock.
        """

    def host_states(self, attempt: str, at: float, states: Mapping[str, str]) -> None:
        """Store the state of every host, whenever one of them changes.

        Args:
            attempt: The attempt that the states belong to.
            at: When the watcher noticed the change, in seconds since the epoch.
            states: A short text for each host, by its name: `running`, `exit code 0`, `silent`.
        """

    def milestone(self, attempt: str, milestone: Milestone) -> None:
        """Store a moment in the life of an attempt.

        Of two milestones with one key (`Milestone.key`), the first one stays: a watcher that takes over
        notices again what its predecessor has recorded.

        Args:
            attempt: The attempt.
            milestone: What happened, and when.
        """

    def output(self, attempt: str, host: str, offset: int, data: bytes) -> None:
        """Store a piece of a host's log.

        The same bytes may come again in pieces of other sizes; equal offsets always hold equal bytes.

        Args:
            attempt: The attempt that printed it.
            host: Name of the host.
            offset: Position of the first byte of `data` in the host's log.
            data: The bytes, as the host printed them.
        """

    def last_progress(self, attempt: str) -> Progress | None:
        """Return the step of an attempt that was stored last, or None before the first."""


class RecorderRef(BaseModel):
    """Names a recorder, so that a trigger can be serialised and another process can make the same one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$",
        description="Import path of a class or a function that returns a `GangRecorder`.",
    )
    kwargs: dict[str, JsonValue] = Field(
        default_factory=dict, description="Keyword arguments that it is called with."
    )

    def resolve(self) -> GangRecorder:
        """Import and call what `path` names.

        Raises:
            ImportError: The module, or the name in it, does not exist.
        """
        module_name, _, name = self.path.rpartition(".")
        module = importlib.import_module(module_name)
        if not hasattr(module, name):
            raise ImportError(f"recorder {self.path!r}: module {module_name} has no {name!r}")
        return cast(GangRecorder, getattr(module, name)(**self.kwargs))
