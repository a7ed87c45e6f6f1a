"""The tables of what estimates are made of, besides earlier runs. Every moment is UTC."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from sqltune.records.base import CLUSTERED, Base


class TokenCount(Base):
    """The training rows of a commit in tokens of a base model."""

    __tablename__ = "token_counts"
    __table_args__ = CLUSTERED

    dataset_repo: Mapped[str] = mapped_column(primary_key=True)
    base_model: Mapped[str] = mapped_column(primary_key=True)
    """Its folder on the hosts."""
    split: Mapped[str] = mapped_column(primary_key=True)
    """Percentage of databases held out, and hash of the prompt template."""
    dataset_commit: Mapped[str] = mapped_column(primary_key=True)
    rows: Mapped[int]
    tokens: Mapped[int]
    longest: Mapped[int]
    """Tokens of the longest row."""
    at: Mapped[datetime]


class StrategyRate(Base):
    """How fast a DeepSpeed strategy was in a few iterations on a cluster, and under which settings."""

    __tablename__ = "strategy_rates"
    __table_args__ = CLUSTERED

    cluster: Mapped[str] = mapped_column(primary_key=True)
    recipe: Mapped[str] = mapped_column(primary_key=True)
    xtuner_config: Mapped[str] = mapped_column(primary_key=True)
    base_model: Mapped[str] = mapped_column(primary_key=True)
    """Its folder on the hosts."""
    hosts: Mapped[str] = mapped_column(primary_key=True)
    """Name and processes of each host."""
    max_length: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    batch_size: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    accumulative_counts: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    lora_rank: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    strategy: Mapped[str] = mapped_column(primary_key=True)
    seconds_per_iteration: Mapped[float | None]
    """None where it failed."""
    error: Mapped[str]
    """Why it failed; empty otherwise."""
    run_id: Mapped[str]
    """Airflow's run id of the run that measured it."""
    at: Mapped[datetime]
