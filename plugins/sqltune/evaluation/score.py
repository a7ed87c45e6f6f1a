"""What a score is: a model's answers to a suite, each judged, and the counts that follow from them.

Tasks and records exchange these models; `scorer` computes them and `report` prints them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sqltune.evaluation.audit.flags import Flags
from sqltune.evaluation.diagnosis.steps import ErrorClass
from sqltune.evaluation.failures import FailureClass
from sqltune.evaluation.judge import Outcome
from sqltune.evaluation.questions import CORRECTED, REFERENCE
from sqltune.evaluation.speed import Speed
from ssh_gang.model import Model

Count = Annotated[int, Field(ge=0)]


class Tally(Model):
    """How many of some questions were answered correctly."""

    matched: Count = Field(description="Questions answered with the expected rows.")
    evaluated: Count = Field(description="Questions evaluated.")


class JudgedAnswer(Model):
    """One answer of a model, and whether it is correct."""

    id: str = Field(description="Id of the question; two models are compared by it.")
    question: str = Field(description="The question in natural language.")
    expected_sql: str = Field(description="The gold query.")
    answer: str = Field(description="The model's answer, unchanged.")
    sql: str = Field(description="The query extracted from the answer; this is what was executed.")
    outcome: Outcome = Field(description="`match` is correct; `gold_invalid` is left out of every number.")
    reason: str = Field("", description="Why the outcome is not `match`.")
    strict: bool = Field(False, description="Correct with columns in place and DISTINCT kept.")
    exact: bool = Field(False, description="The gold query itself, up to spelling.")
    vacuous: bool = Field(False, description="Correct, but both queries returned no rows.")
    failure_class: FailureClass | None = Field(None, description="Why the query does not run.")
    error_class: ErrorClass | None = Field(None, description="What is wrong with a query that runs.")
    tags: tuple[str, ...] = Field((), description="The question's tags.")
    must_not_break: bool = Field(False, description="The gate guards this question.")

    @property
    def correct(self) -> bool:
        """Whether the query returned the expected rows."""
        return self.outcome == "match"

    @property
    def is_reference_prompt(self) -> bool:
        """Whether the question is one of the reference prompts."""
        return REFERENCE in self.tags

    @property
    def is_corrected(self) -> bool:
        """Whether the gold query is a correction."""
        return CORRECTED in self.tags

    @property
    def counted(self) -> bool:
        """Whether the answer enters the numbers: no reference prompt, and its gold query runs."""
        return not self.is_reference_prompt and self.outcome != "gold_invalid"


class ScoreSummary(Model):
    """The counts of a score, without the single answers.

    No count includes the reference prompts or questions whose gold query does not run.
    """

    model: str = Field(description="Name of the model.")
    questions: Count = Field(description="Questions evaluated: those whose gold query runs.")
    matched: Count = Field(
        description="Answered with the expected rows: columns in any order, rows as a multiset, DISTINCT "
        "dropped, order of rows where the gold query orders."
    )
    strict: Count = Field(description="Correct with columns in place and DISTINCT kept.")
    exact: Count = Field(description="Of the matched, the gold query itself, up to spelling.")
    vacuous: Count = Field(description="Of the matched, both queries returned no rows: these prove little.")
    invalid: Count = Field(description="Answered with SQL that does not run.")
    invalid_by_class: dict[str, int] = Field(description="The invalid answers, by failure class.")
    mismatched_by_class: dict[str, int] = Field(
        default_factory=dict,
        description="The answers that run and return other rows, by error class; none in scores of 0.2.0.",
    )
    not_judged: Count = Field(description="Questions left out because their gold query does not run.")
    by_language: dict[str, Tally] = Field(description="By language of the question: zh, en.")
    by_hardness: dict[str, Tally] = Field(description="By Spider's hardness of the gold query.")
    by_clause: dict[str, Tally] = Field(description="By clause of the gold query.")
    reference_prompts: dict[str, bool] = Field(description="Each reference prompt: answered correctly?")
    flagged: dict[str, int] = Field(
        {}, description="Questions with a doubtful gold query, by reason; a question may have several."
    )
    unflagged: Tally | None = Field(
        None, description="The score without those questions; empty in records from before the audit."
    )
    corrected: Count = Field(0, description="Questions whose gold query was replaced by a correction.")
    speed: Speed | None = Field(
        None, description="How fast the answers came; empty where this run generated none of them."
    )

    @property
    def mismatched(self) -> int:
        """Answered with SQL that runs and returns other rows."""
        return self.questions - self.matched - self.invalid

    @property
    def accuracy(self) -> float:
        """Share of the evaluated questions answered correctly, from 0 to 1."""
        return self.matched / self.questions if self.questions else 0.0

    @property
    def invalid_share(self) -> float:
        """Share of the evaluated questions whose SQL does not run, from 0 to 1."""
        return self.invalid / self.questions if self.questions else 0.0

    @property
    def vacuous_share(self) -> float:
        """Share of the correct answers where both queries returned no rows, from 0 to 1."""
        return self.vacuous / self.matched if self.matched else 0.0


class Score(ScoreSummary):
    """A model's answers to a suite, judged."""

    answers: tuple[JudgedAnswer, ...] = Field(description="Every answer, in the order of the suite.")
    flags: Flags = Field({}, description="Why gold queries are doubtful, by question id.")

    @property
    def counted_answers(self) -> list[JudgedAnswer]:
        """The answers that enter the numbers."""
        return [a for a in self.answers if a.counted]

    @property
    def reference_answers(self) -> list[JudgedAnswer]:
        """The answers to the reference prompts."""
        return [a for a in self.answers if a.is_reference_prompt]

    @property
    def summary(self) -> ScoreSummary:
        """The counts alone."""
        return ScoreSummary.model_validate(self.model_dump(exclude={"answers", "flags"}))
