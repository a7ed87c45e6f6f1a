"""The worker process: judges pairs of queries in confinement.

`execution_match` starts it as a plain program, passes one request on its standard input and reads one
response line for each pair from its standard output.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqltune.evaluation.judge import Judge, Match, Pair
from sqltune.evaluation.sandbox import confine

# Plain dataclasses and no pydantic models: both ends are this module, and importing pydantic would take
# longer than everything else that a worker imports.


@dataclass(frozen=True)
class WorkerRequest:
    """What a worker reads from its standard input.

    Attributes:
        pairs: the pairs to judge, in order.
    """

    pairs: tuple[Pair, ...]

    def to_json(self) -> str:
        """Return the request as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> WorkerRequest:
        """Parse a request."""
        return cls(tuple(Pair(**pair) for pair in json.loads(text)["pairs"]))


@dataclass(frozen=True)
class WorkerResponse:
    """One line of a worker's standard output.

    Attributes:
        number: position of the pair in the request.
        match: the outcome for it.
    """

    number: int
    match: Match

    def to_json(self) -> str:
        """Return the response as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str | bytes) -> WorkerResponse:
        """Parse one line."""
        values = json.loads(line)
        return cls(values["number"], Match(**values["match"]))


def serve(pairs: Sequence[Pair]) -> None:
    """Judge pairs in confinement, and print a response for each as soon as it is known."""
    confine()
    judge = Judge()
    for number, pair in enumerate(pairs):
        print(WorkerResponse(number, judge.judge(pair)).to_json(), flush=True)


if __name__ == "__main__":
    serve(WorkerRequest.from_json(sys.stdin.read()).pairs)
