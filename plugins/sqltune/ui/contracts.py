"""What the page's API answers. Every moment is UTC, every share is from 0 to 1."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from sqltune.evaluation.audit.flags import Flag
from sqltune.evaluation.explanation import Explanation
from sqltune.evaluation.score import ScoreSummary, Tally
from sqltune.evaluation.statistics import PairedComparison
from sqltune.evaluation.verdict import RuleResult
from sqltune.records.runs import State
from ssh_gang.model import Model

DAG_ID = "text2sql_retrain"
"""The DAG whose runs are recorded."""

Change = Literal["gained", "lost", "both_right", "both_wrong"]
"""What became of a question: right only after, right only before, right in both, wrong in both."""

LeftOut = Literal["reference_prompt", "gold_does_not_run"]
"""Why a question enters no number."""


class RunLine(Model):
    """One run in the list of runs."""

    key: str = Field(description="Key of the run in the records; it names the run in every address.")
    run_id: str = Field(description="Airflow's run id.")
    cluster: str = Field(description="Cluster file, without .yaml.")
    recipe: str = Field(description="Recipe file, without .yaml.")
    dataset_repo: str = Field(description="Dataset repository on the hub, owner/name.")
    dataset_commit: str = Field(description="The commit that was trained on.")
    state: State = Field(description="How far the run has come, by what it has recorded.")
    same_as: str | None = Field(description="Run id of the run that had trained the same plan.")
    version: int | None = Field(description="Number of the version that it registered.")
    questions: int | None = Field(description="Questions of its evaluation.")
    matched_before: int | None = Field(description="Correct answers of the model that was served.")
    matched_after: int | None = Field(description="Correct answers of the candidate.")
    created_at: datetime = Field(description="When it was planned.")
    active_at: datetime = Field(description="When something was last recorded of it.")


class RunList(Model):
    """A page of the list of runs, the newest first."""

    total: int = Field(description="Runs in all.")
    runs: list[RunLine]


class Training(Model):
    """Where a training stands."""

    attempt: str = Field(description="The attempt that reported last.")
    step: int = Field(description="Its last iteration.")
    total: int = Field(description="Iterations in all.")
    loss: float | None = Field(description="Loss of the last iteration; null where it is not finite.")
    eta: str | None = Field(description="Time left, as the training estimates it.")
    at: datetime = Field(description="When the iteration was seen.")


class Progress(Model):
    """How far an evaluation is."""

    phase: str = Field(description="before or after.")
    answered: int = Field(description="Questions answered.")
    questions: int = Field(description="Questions in all.")


class RunHead(RunLine):
    """One run at a glance."""

    dataset_date: str = Field(description="Date of the commit, ISO 8601.")
    champion: int | None = Field(description="Version that was served when the run began.")
    verdict: str | None = Field(description="The gate's decision in one line; null before it.")
    training: Training | None = Field(description="Null before the first iteration.")
    evaluation: Progress | None = Field(description="The evaluation in progress, or the last one.")
    gpu_hours: float | None = Field(description="GPU-hours of the training; null before it is registered.")
    price: float | None = Field(description="Of these hours, where the cluster file has a price.")


class Line(Model):
    """One curve. Long ones are reduced to the lowest and the highest point of each stretch."""

    steps: list[int] = Field(description="Iterations, ascending.")
    values: list[float | None] = Field(description="Null where the value is missing or not finite.")


class Series(Model):
    """The curves of a training."""

    total: int = Field(description="Iterations that the training was planned for; 0 before the first.")
    attempts: dict[str, int] = Field(description="First iteration here of each attempt, by its name.")
    cursor: datetime | None = Field(
        description="Moment of the newest iteration: with `after`, the next answer starts there. Null before "
        "the first."
    )
    loss: Line
    lr: Line
    seconds_per_step: Line
    tokens_per_second: Line


class GpuLine(Model):
    """One GPU over time."""

    host: str
    gpu: int = Field(description="Index of the GPU on its host.")
    at: list[datetime]
    use: list[float | None] = Field(description="Percent of the time.")
    memory_used: list[int] = Field(description="MiB.")
    memory_total: int = Field(description="MiB.")


class Setting(Model):
    """One value of a plan."""

    name: str = Field(description="Path of the field, its parts joined by dots.")
    value: JsonValue
    other: JsonValue = Field(None, description="The value in the plan that it is compared with.")
    differs: bool = Field(False, description="Whether the two plans differ here.")


class Plan(Model):
    """What a run runs with."""

    settings: list[Setting]
    against: str | None = Field(description="Key of the run whose plan it is compared with.")


class Side(Model):
    """One model's result."""

    model: str = Field(description="Name of the model.")
    summary: ScoreSummary
    interval: tuple[float, float] = Field(description="Wilson's interval of the share of correct answers.")
    by_database: dict[str, Tally] = Field(description="By the name of the question's database.")


class WithoutDoubtful(Model):
    """Before and after without the questions whose gold query is doubtful."""

    doubtful: int = Field(description="Questions that enter the numbers and have a doubtful gold query.")
    by_reason: dict[str, int] = Field(description="Of these, by reason; a question may have several.")
    before: Tally
    after: Tally
    paired: PairedComparison
    decisive: bool | None = Field(
        description="Whether the gate would decide otherwise without them; null where it has not said so."
    )


class Comparison(Model):
    """Before and after, in numbers."""

    before: Side | None
    after: Side | None
    reference: Side | None
    buckets: dict[Change, int] = Field(
        description="Questions that enter the numbers, by what became of them."
    )
    paired: PairedComparison | None = Field(description="The difference, with its interval and p-value.")
    without_doubtful: WithoutDoubtful | None = Field(description="Null where no gold query is doubtful.")
    passed: bool | None = Field(description="The gate's decision; null before it.")
    headline: str | None = Field(description="The decision in one line.")
    rules: list[RuleResult] = Field(description="Every rule of the gate, with what it found.")


class AnswerLine(Model):
    """One model's answer in the list of questions."""

    sql: str = Field(description="The query that was taken from the answer and executed.")
    outcome: str
    failure_class: str | None = Field(description="Why the query does not run.")
    error_class: str | None = Field(description="What is wrong with a query that runs.")
    correct: bool
    vacuous: bool = Field(description="Correct, but both queries returned no rows.")


class Answer(AnswerLine):
    """One model's answer to a question."""

    text: str = Field(description="The answer, unchanged.")
    reason: str = Field(description="Why the outcome is not `match`.")


class QuestionLine(Model):
    """A question in the list, with what both models made of it."""

    id: str = Field(description="Its id in the suite.")
    question: str
    gold: str = Field(description="The gold query.")
    database_name: str = Field(
        description="Name of its SQLite file; without one, the tables that its schema creates."
    )
    language: str
    hardness: str
    clauses: tuple[str, ...] = Field(description="Clauses of the gold query.")
    guarded: bool = Field(description="The gate holds back a model that breaks it.")
    left_out: LeftOut | None = Field(description="Why it enters no number; null if it does.")
    flags: tuple[Flag, ...] = Field(description="Why the gold query is doubtful.")
    change: Change
    before: AnswerLine
    after: AnswerLine


class Question(QuestionLine):
    """A question with the answers of both models."""

    context: str = Field(description="CREATE TABLE statements of its tables.")
    database: str | None = Field(description="The SQLite file that the queries run on.")
    before: Answer
    after: Answer


class Explained(Model):
    """Why the answers to a question were judged as they were."""

    before: Explanation
    after: Explanation


class Questions(Model):
    """A run's questions, filtered."""

    total: int = Field(description="Questions that the filter leaves.")
    questions: list[QuestionLine]


class ServedVersion(Model):
    """A version began to serve."""

    at: datetime
    version: int
    before: int | None = Field(description="The version that served until then.")
    why: str = Field(description="What decided: the gate, a person, a rollback.")
    by: str = Field(description="The run that did it.")
    run_key: str = Field(description="Key of the run that trained the version.")


class VersionLine(Model):
    """A registered candidate."""

    number: int
    run_key: str
    run_id: str
    registered_at: datetime
    serving: bool = Field(description="Whether it serves now.")
    lineage: dict[str, str] = Field(description="Data, plan, code, hashes, scores, verdict, hours.")
    questions: int | None
    matched: int | None
    interval: tuple[float, float] | None = Field(description="Wilson's interval of the score.")
    passed: bool | None
    matched_before: int | None = Field(description="Correct answers of the model that was served then.")
    gpu_hours: float | None
    price: float | None = Field(description="Of these hours, where the cluster file has a price.")


class History(Model):
    """A cluster's versions and promotions, oldest first."""

    cluster: str
    versions: list[VersionLine]
    promotions: list[ServedVersion]


class Clusters(Model):
    """The clusters that something was recorded of."""

    clusters: list[str]
