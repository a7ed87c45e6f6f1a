"""The gang of `probe`: a few iterations with one DeepSpeed strategy, to find out how fast it is."""

from __future__ import annotations

import re
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from sqltune.config.base import digest
from sqltune.config.plan import RunPlan
from sqltune.contracts import dumped
from sqltune.operators.mmengine import PROGRESS_PATTERN
from sqltune.operators.train import XtunerOperator, final_progress
from sqltune.records.measured_strategy import WARM_UP, MeasuredStrategy
from ssh_gang.errors import GangError
from ssh_gang.event import GangEvent
from ssh_gang.model import Gang
from ssh_gang.progress import parse_progress

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ssh_gang.recorder import RecorderRef

ITERATIONS = 20
"""At least; as many more as one step of the optimizer takes."""


class ProbeOperator(XtunerOperator):
    """Train a few iterations with one strategy, and leave no checkpoint.

    A strategy whose ranks fail, because memory is short or this build of DeepSpeed lacks something, is out:
    the task succeeds, and its result has the error. The task fails where a person stopped the ranks, a host
    was lost or a limit was exceeded: that says nothing of the strategy.

    Args:
        strategy: Name of the DeepSpeed strategy.
    """

    template_fields = (*XtunerOperator.template_fields, "strategy")
    # No checkpoint, and the time of each iteration by itself.
    options = ("--cfg-options", "default_hooks.checkpoint=None", "log_processor.window_size=1")

    def __init__(self, *, strategy: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.strategy = strategy

    @property
    def run_plan(self) -> RunPlan:
        """The plan, with this strategy and a few iterations."""
        plan = super().run_plan.with_strategy(self.strategy)
        enough = max(ITERATIONS, WARM_UP + plan.training.accumulative_counts)
        few = {"max_steps": min(enough, plan.training.max_steps or enough), "max_epochs": None}
        training = plan.training.model_copy(update=few | {"log_interval": 1})
        return plan.model_copy(update={"training": training})

    def spec_hash(self) -> str:
        """Return a hash of the plan and the strategy."""
        return digest([self.plan, self.strategy])

    def new_attempt(self, context: Context) -> str:
        """Name the strategy too: the page shows the attempts of all strategies beside one another."""
        return f"{self.strategy}.{super().new_attempt(context)}"

    def work_dir(self, plan: RunPlan, attempt: str) -> str:
        """Return a folder beside the training's, which resumes from nothing in here."""
        from sqltune.records.attempts import PROBE

        return f"{plan.run_dir}/{PROBE}/{attempt}"

    def execute_complete(self, context: Context, event: Any) -> Any:
        """Judge the end, and hand on a `MeasuredStrategy`; a strategy that failed is one too."""
        ended = GangEvent.model_validate(event)
        if ended.ok or ended.failed_code is None:
            return super().execute_complete(context, event)
        return dumped(self._failed(next(iter(ended.first_errors), ended.reason)))

    def judge(self, gang: Gang, event: GangEvent, output: str) -> MeasuredStrategy:
        """How fast the strategy was; it is out where it did not get to its last iteration."""
        try:
            final_progress(event.progress, output)
            seconds = seconds_per_iteration(output, self.run_plan.training.accumulative_counts)
        except GangError as e:
            return self._failed(str(e))
        return self._recorded(MeasuredStrategy(strategy=self.strategy, seconds_per_iteration=seconds))

    def recorder_for(self, gang: Gang) -> RecorderRef:
        """Return the recorder of the run; these iterations are not its training's."""
        from sqltune.records.recorder import ProbeRecorder

        return ProbeRecorder.ref(self.run_plan.key, gang.name, gang.owner["task_id"])

    def _failed(self, error: str) -> MeasuredStrategy:
        self.log.warning("%s is out: it failed", self.strategy)
        first = error.splitlines()[0]
        return self._recorded(
            MeasuredStrategy(strategy=self.strategy, seconds_per_iteration=None, error=first)
        )

    def _recorded(self, measured: MeasuredStrategy) -> MeasuredStrategy:
        from sqltune.records import strategies

        strategies.put(self.run_plan, measured)
        self.log.info("%s", measured)
        return measured


def seconds_per_iteration(log: str, accumulative_counts: int) -> float:
    """Return how long an iteration took, in the median and without the first ones.

    The optimizer steps once in `accumulative_counts` iterations: that many count as one, by their average.

    Args:
        log: Has a line for each iteration.
        accumulative_counts: Iterations for each step of the optimizer.

    Raises:
        GangError: The log has no time of an iteration.
    """
    pattern = re.compile(PROGRESS_PATTERN)
    lines = [found for line in log.splitlines() if (found := parse_progress(pattern, line))]
    timed = {one.step: one.seconds_per_step for one in lines if one.seconds_per_step is not None}
    if not timed:
        raise GangError("the log has no time of an iteration")
    steady = [seconds for step, seconds in sorted(timed.items()) if step > WARM_UP] or [*timed.values()]
    size = min(accumulative_counts, len(steady))
    return median(fmean(steady[at : at + size]) for at in range(0, len(steady) - size + 1, size))
