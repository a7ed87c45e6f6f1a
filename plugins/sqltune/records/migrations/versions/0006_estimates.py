"""The estimate of each run, and what it is made of: counted tokens."""

import sqlalchemy as sa
from alembic import op

from sqltune.records.types import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both; runs that were planned before have no estimate."""
    op.add_column("runs", sa.Column("estimate", sa.JSON(), nullable=True))
    op.create_table(
        "token_counts",
        sa.Column("dataset_repo", sa.Text(), nullable=False),
        sa.Column("base_model", sa.Text(), nullable=False),
        sa.Column("split", sa.Text(), nullable=False),
        sa.Column("dataset_commit", sa.Text(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("longest", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint(
            "dataset_repo", "base_model", "split", "dataset_commit", name="pk_token_counts"
        ),
        sqlite_with_rowid=False,
    )
