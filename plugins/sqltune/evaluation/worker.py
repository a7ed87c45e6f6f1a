"""The worker process: runs pairs of queries in confinement, to judge them or to find their witnesses.

`execution_match` starts it as a plain program, passes one request on its standard input and reads one
response line for each pair from its standard output.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sqltune.evaluation.judge import Judge, Pair
from sqltune.evaluation.sandbox import confine
from sqltune.evaluation.witness_search import WitnessFinder

# Plain dataclasses and no pydantic models: both ends are this module, and importing pydantic would take
# longer than everything else that a worker imports.

Job = Literal["judge", "witness"]
"""What a worker does with each pair: return its `Match`, or the JSON of its `Witness` or None."""


@dataclass(frozen=True)
class WorkerRequest:
    """What a worker reads from its standard input.

    Attributes:
        job: what to do with each pair.
        pairs: the pairs, in order.
    """

    job: Job
    pairs: tuple[Pair, ...]

    def to_json(self) -> str:
        """Return the request as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> WorkerRequest:
        """Parse a request."""
        values = json.loads(text)
        return cls(values["job"], tuple(Pair(**pair) for pair in values["pairs"]))


@dataclass(frozen=True)
class WorkerResponse:
    """One line of a worker's standard output.

    Attributes:
        number: position of the pair in the request.
        result: what the job returned for it, as JSON.
    """

    number: int
    result: Any

    def to_json(self) -> str:
        """Return the response as one line of JSON."""
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, line: str | bytes) -> WorkerResponse:
        """Parse one line."""
        return cls(**json.loads(line))


def serve(job: Job, pairs: Sequence[Pair]) -> None:
    """Do a job for each pair in confinement, and print a response for each as soon as it is known."""
    confine()
    run = _judging() if job == "judge" else WitnessFinder().find
    for number, pair in enumerate(pairs):
        print(WorkerResponse(number, run(pair)).to_json(), flush=True)


def _judging() -> Callable[[Pair], Any]:
    judge = Judge()
    return lambda pair: vars(judge.judge(pair))


if __name__ == "__main__":
    request = WorkerRequest.from_json(sys.stdin.read())
    serve(request.job, request.pairs)
