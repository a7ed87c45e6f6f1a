"""Tokens of training rows, counted once for each commit: where the plan is made, or on a host."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import select

from sqltune.config.plan import RunPlan
from sqltune.records import database
from sqltune.records.estimate_tables import TokenCount
from sqltune.records.types import now
from sqltune.sql.prompt import TEMPLATE_HASH

_KEYS = ["dataset_repo", "base_model", "split", "dataset_commit"]


@dataclass(frozen=True)
class CountKey:
    """What decides a count."""

    dataset_repo: str
    base_model: str
    split: str
    dataset_commit: str


def key_of(plan: RunPlan) -> CountKey:
    """Return the key of a plan's rows."""
    return CountKey(
        dataset_repo=plan.dataset_repo,
        base_model=plan.base_model,
        split=f"{plan.recipe.held_out_percent}-{TEMPLATE_HASH}",
        dataset_commit=plan.dataset_commit,
    )


def put(key: CountKey, rows: int, tokens: int, longest: int) -> None:
    """Record a count, in place of one from elsewhere: the host's own tokenizer has the last word."""
    row = asdict(key) | {"rows": rows, "tokens": tokens, "longest": longest, "at": now()}
    with database.writing() as session:
        database.upsert(session, TokenCount, [row], keys=_KEYS)


def find(key: CountKey) -> TokenCount | None:
    """Return the count of this very commit, or None."""
    with database.reading() as session:
        return session.get(TokenCount, tuple(asdict(key).values()))


def newest(key: CountKey) -> TokenCount | None:
    """Return the newest count of any commit of the dataset by the same base model and split, or None."""
    with database.reading() as session:
        return session.scalar(
            select(TokenCount)
            .where(
                TokenCount.dataset_repo == key.dataset_repo,
                TokenCount.base_model == key.base_model,
                TokenCount.split == key.split,
            )
            .order_by(TokenCount.at.desc())
            .limit(1)
        )


def rows_by_commit(dataset_repo: str) -> dict[str, int]:
    """Return the training rows of each commit of a dataset that was counted; by the newest count."""
    statement = (
        select(TokenCount.dataset_commit, TokenCount.rows)
        .where(TokenCount.dataset_repo == dataset_repo)
        .order_by(TokenCount.at)
    )
    with database.reading() as session:
        return {commit: rows for commit, rows in session.execute(statement)}  # noqa: C416 # typed rows
