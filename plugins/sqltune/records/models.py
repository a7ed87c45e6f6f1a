"""The tables of runs, answers, versions and promotions. Every moment is UTC.

Keys and indexes serve the queries that read them (`bench/records.py` measures them). Runs, questions
and answers have a text key that callers use and a number that other tables refer to: a run of 2,000
questions has 4,000 judgements, and each stays small.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from sqltune.records.base import CLUSTERED, Base, Json


class Installation(Base):
    """The one row that names these records on hosts which others may use too."""

    __tablename__ = "installation"
    __table_args__ = (CheckConstraint("id = 1", "single_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]


class Run(Base):
    """One Airflow run of the chain."""

    __tablename__ = "runs"
    __table_args__ = (
        Index(None, "created_at"),
        Index(None, "cluster", "created_at"),
        Index(None, "fingerprint"),
        Index(None, "active_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    """The run's id as a folder name (`RunPlan.key`)."""
    run_id: Mapped[str]
    """Airflow's run id."""
    cluster: Mapped[str]
    recipe: Mapped[str]
    fingerprint: Mapped[str]
    dataset_repo: Mapped[str]
    dataset_commit: Mapped[str]
    plan: Mapped[Json]
    """`RunPlan`."""
    same_as: Mapped[str | None]
    """Run id of the run that had trained the same plan: this one ended with nothing new."""
    trained: Mapped[Json | None] = mapped_column(JSON(none_as_null=True))
    """Last iteration and the rendered xtuner config."""
    estimate: Mapped[Json | None] = mapped_column(JSON(none_as_null=True))
    """`Estimate`."""
    created_at: Mapped[datetime]
    active_at: Mapped[datetime]
    """When something was last recorded of this run."""


class Iteration(Base):
    """One iteration of a training, as the log reports it; the fields of `Progress`, and whose they are."""

    __tablename__ = "iterations"
    __table_args__ = CLUSTERED

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    total: Mapped[int]
    loss: Mapped[float | None]
    loss_is_finite: Mapped[bool]
    last_finite_step: Mapped[int | None]
    first_nonfinite_step: Mapped[int | None]
    lr: Mapped[float | None]
    seconds_per_step: Mapped[float | None]
    tokens_per_second: Mapped[float | None]
    memory: Mapped[int | None]
    """MiB of GPU memory at its highest on rank 0."""
    eta: Mapped[str | None]
    at: Mapped[datetime]


class GpuSample(Base):
    """One GPU at one moment."""

    __tablename__ = "gpu_samples"
    __table_args__ = CLUSTERED

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    host: Mapped[str] = mapped_column(primary_key=True)
    gpu: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    attempt: Mapped[str]
    use: Mapped[float | None]
    """Percent of the time."""
    memory_used: Mapped[int]
    """MiB."""
    memory_total: Mapped[int]
    """MiB."""
    temperature: Mapped[float | None]
    """Degrees Celsius."""


class HostState(Base):
    """What is known of a host of the training, now."""

    __tablename__ = "host_states"
    __table_args__ = CLUSTERED

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    host: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    at: Mapped[datetime]


class RankState(Base):
    """What one rank of the training has reported of itself last."""

    __tablename__ = "rank_states"
    __table_args__ = CLUSTERED

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    rank: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    host: Mapped[str]
    attempt: Mapped[str]
    step: Mapped[int]
    seconds: Mapped[float | None]
    """Seconds that a step takes."""
    data_seconds: Mapped[float | None]
    """The part of them in which it waited for its next batch."""
    memory: Mapped[int | None]
    """Peak GPU memory, in MiB."""
    at: Mapped[datetime]


class HostCheckup(Base):
    """What `preflight` measured on a host, and what it made of it."""

    __tablename__ = "host_checkups"
    __table_args__ = CLUSTERED

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    host: Mapped[str] = mapped_column(primary_key=True)
    facts: Mapped[Json]
    """`MeasuredHost`."""
    checks: Mapped[list[Any]]
    """`HostCheck` for each check."""
    at: Mapped[datetime]


class GangMilestone(Base):
    """A moment in the life of one attempt of one of the run's gangs."""

    __tablename__ = "gang_milestones"
    __table_args__ = CLUSTERED

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    task: Mapped[str] = mapped_column(primary_key=True)
    """Airflow's task id: train, all_reduce, probe, export_model."""
    attempt: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str] = mapped_column(primary_key=True)
    """Empty where it concerns the whole gang."""
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """The step or the try, where the kind has one."""
    at: Mapped[datetime]
    details: Mapped[Json]
    """The other fields of `ssh_gang.milestone.Milestone`."""


class Question(Base):
    """A question of a suite, once for all runs that were evaluated on it."""

    __tablename__ = "questions"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    """Hash of everything below: a question that was changed is another one."""
    name: Mapped[str]
    """Its id in the suite: scores of two models are paired by it."""
    question: Mapped[str]
    context: Mapped[str]
    gold: Mapped[str]
    database: Mapped[str | None]
    tags: Mapped[list[Any]]
    must_not_break: Mapped[bool]
    language: Mapped[str]
    hardness: Mapped[str]


class HeldOut(Base):
    """The held-out questions that a run sampled, in their order."""

    __tablename__ = "held_out"
    __table_args__ = CLUSTERED

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    question_id: Mapped[int] = mapped_column(ForeignKey("questions.id"))


class DataCheckRecord(Base):
    """What the data check of a run found in its dataset."""

    __tablename__ = "data_checks"

    run_id: Mapped[int] = mapped_column(
        ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    found: Mapped[Json]
    """`DataCheck`."""
    at: Mapped[datetime]


class Answer(Base):
    """What a model answered to a prompt; no run generates it again."""

    __tablename__ = "answers"
    __table_args__ = (UniqueConstraint("model_hash", "decoding", "prompt_hash"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    model_hash: Mapped[str]
    """Hash of the weights, or of a hosted model's name and address."""
    decoding: Mapped[str]
    """Hash of the prompt template and of everything that decides how the answer is generated."""
    prompt_hash: Mapped[str]
    text: Mapped[str]
    at: Mapped[datetime]


class Evaluation(Base):
    """One model's result on a run's suite."""

    __tablename__ = "evaluations"
    __table_args__ = CLUSTERED

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    phase: Mapped[str] = mapped_column(primary_key=True)
    """before, after or reference."""
    model: Mapped[str]
    model_hash: Mapped[str]
    questions: Mapped[int]
    matched: Mapped[int]
    score: Mapped[Json | None] = mapped_column(JSON(none_as_null=True))
    """`Score` without the single answers and the speed; None while the questions are being answered."""
    speed: Mapped[Json | None] = mapped_column(JSON(none_as_null=True))
    """`Speed`, also while the questions are being answered; None where this run generated no answer."""
    answered: Mapped[int]
    at: Mapped[datetime]


class Judgement(Base):
    """One answer and what it is worth."""

    __tablename__ = "judgements"
    # An engine that removes an answer looks for its judgements.
    __table_args__ = (Index(None, "answer_id"), CLUSTERED)

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    phase: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    question_id: Mapped[int] = mapped_column(ForeignKey("questions.id"))
    answer_id: Mapped[int | None] = mapped_column(ForeignKey("answers.id"))
    """None where the question was not answered."""
    sql: Mapped[str]
    """The query that was taken from the answer and executed."""
    outcome: Mapped[str]
    reason: Mapped[str]
    strict: Mapped[bool]
    exact: Mapped[bool]
    vacuous: Mapped[bool]
    failure_class: Mapped[str | None]
    """Why the query does not run."""
    error_class: Mapped[str | None]
    """What is wrong with a query that runs."""


class Verdict(Base):
    """The gate's decision on a run."""

    __tablename__ = "verdicts"

    run_id: Mapped[int] = mapped_column(
        ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    passed: Mapped[bool]
    table: Mapped[str]
    """The before/after table as text."""
    decision: Mapped[Json]
    """`Decision` without its rules: paired statistics, and the questions gained and lost."""
    at: Mapped[datetime]


class RuleResult(Base):
    """One rule of the gate and its result."""

    __tablename__ = "rule_results"
    __table_args__ = CLUSTERED

    run_id: Mapped[int] = mapped_column(ForeignKey("verdicts.run_id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    passed: Mapped[bool]
    rule: Mapped[Json]
    """`Rule`."""


class Version(Base):
    """A registered candidate."""

    __tablename__ = "versions"
    __table_args__ = (UniqueConstraint("cluster", "number"), UniqueConstraint("cluster", "run_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    cluster: Mapped[str]
    number: Mapped[int]
    run_id: Mapped[str]
    run_key: Mapped[str]
    registered_at: Mapped[datetime]
    host: Mapped[str]
    merged_path: Mapped[str]
    model_hash: Mapped[str]
    dtype: Mapped[str]
    lineage: Mapped[Json]


class Promotion(Base):
    """A version began to serve. Rows are only ever added: a trigger refuses UPDATE and DELETE."""

    __tablename__ = "promotions"
    __table_args__ = (UniqueConstraint("cluster", "number"), Index(None, "cluster", "at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    cluster: Mapped[str]
    number: Mapped[int]
    """Counts the cluster's promotions, from 1: of two at the same time, one is refused."""
    at: Mapped[datetime]
    version: Mapped[int]
    before: Mapped[int | None]
    """The version that served until then."""
    merged_path: Mapped[str]
    model_hash: Mapped[str]
    why: Mapped[str]
    by: Mapped[str]
    run_id: Mapped[str]
    """Airflow's run id of the run that trained the version."""
    lineage: Mapped[Json]
    """The version's lineage when it was promoted."""


class MlflowMessage(Base):
    """A change that MLflow has not received yet."""

    __tablename__ = "mlflow_outbox"

    id: Mapped[int] = mapped_column(primary_key=True)
    what: Mapped[str]
    """version or champion."""
    cluster: Mapped[str]
    number: Mapped[int]
    created_at: Mapped[datetime]
    claimed_until: Mapped[datetime | None]
    """Until then, one process is sending it, and no other does."""


class ClusterClaim(Base):
    """The run that works on a cluster now; there can be one."""

    __tablename__ = "cluster_claims"

    cluster: Mapped[str] = mapped_column(primary_key=True)
    dag_id: Mapped[str]
    run_id: Mapped[str]
    at: Mapped[datetime]
