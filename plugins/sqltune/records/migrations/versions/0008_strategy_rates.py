"""How fast each DeepSpeed strategy is."""

import sqlalchemy as sa
from alembic import op

from sqltune.records.types import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; the first run that measures fills it."""
    op.create_table(
        "strategy_rates",
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("xtuner_config", sa.Text(), nullable=False),
        sa.Column("base_model", sa.Text(), nullable=False),
        sa.Column("hosts", sa.Text(), nullable=False),
        sa.Column("max_length", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("batch_size", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("accumulative_counts", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("lora_rank", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("seconds_per_iteration", sa.Double(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint(
            "cluster",
            "recipe",
            "xtuner_config",
            "base_model",
            "hosts",
            "max_length",
            "batch_size",
            "accumulative_counts",
            "lora_rank",
            "strategy",
            name=op.f("pk_strategy_rates"),
        ),
        sqlite_with_rowid=False,
    )
