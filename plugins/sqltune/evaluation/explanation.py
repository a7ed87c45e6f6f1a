"""Explains judgements: each outcome with its reason, and each wrong answer with its witness."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from sqltune.evaluation.diagnosis.diagnose import Diagnosis, diagnose
from sqltune.evaluation.diagnosis.steps import ErrorClass
from sqltune.evaluation.execution_match import find_witnesses, match_pairs
from sqltune.evaluation.failures import FailureClass
from sqltune.evaluation.judge import Outcome, Pair
from sqltune.evaluation.why import why
from sqltune.evaluation.witness import Witness
from ssh_gang.model import Model


class Explanation(Model):
    """Why an answer was judged as it was."""

    gold: str = Field(description="The gold query.")
    answer: str = Field(description="The answer's query.")
    outcome: Outcome = Field(description="The judge's outcome.")
    why: str = Field(description="The reason, in plain sentences.")
    failure_class: FailureClass | None = Field(None, description="Why the answer does not run.")
    error_class: ErrorClass | None = Field(None, description="Of a mismatch: what is wrong with the answer.")
    differences: tuple[str, ...] = Field(
        (),
        description="Of a mismatch: what the answer does otherwise, in the order of repair.",
    )
    witness: Witness | None = Field(None, description="Of a mismatch, where one was found.")


def explain(pairs: Sequence[Pair], processes: int | None = None) -> list[Explanation]:
    """Judge pairs and explain each outcome.

    Args:
        pairs: the pairs.
        processes: number of worker processes; by default as many as pay off on this machine's cores.

    Returns:
        One explanation for each pair, in the same order.

    Raises:
        ScoringError: the worker process does not start.
    """
    matches = match_pairs(pairs, processes)
    differing = [pair for pair, match in zip(pairs, matches, strict=True) if match.outcome == "mismatch"]
    found = iter(find_witnesses(differing, processes))
    explanations = []
    for pair, match in zip(pairs, matches, strict=True):
        document = next(found) if match.outcome == "mismatch" else None
        witness = Witness.model_validate(document) if document else None
        diagnosis = _diagnosis(pair) if match.outcome == "mismatch" else None
        explanations.append(
            Explanation(
                gold=pair.gold,
                answer=pair.predicted,
                outcome=match.outcome,
                why=why(match, witness),
                failure_class=match.failure_class,
                error_class=diagnosis and diagnosis.error_class,
                differences=tuple(d.text for d in diagnosis.differences) if diagnosis else (),
                witness=witness,
            )
        )
    return explanations


def _diagnosis(pair: Pair) -> Diagnosis:
    return diagnose(pair.gold, pair.predicted, pair.context)
