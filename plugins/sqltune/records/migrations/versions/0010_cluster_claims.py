"""Which run works on a cluster, in place of which one trains a fingerprint."""

import sqlalchemy as sa
from alembic import op

from sqltune.records.types import UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_NEWEST = """
INSERT INTO cluster_claims (cluster, dag_id, run_id, at)
SELECT cluster, dag_id, run_id, at FROM (
    SELECT runs.cluster, claims.dag_id, claims.run_id, claims.at,
           row_number() OVER (PARTITION BY runs.cluster ORDER BY claims.at DESC, claims.run_id) AS place
    FROM training_claims AS claims
    JOIN runs ON runs.run_id = claims.run_id AND runs.fingerprint = claims.fingerprint
) AS claimed
WHERE place = 1
"""
"""A run that trains during the upgrade keeps its turn."""


def upgrade() -> None:
    """Replace the table; of several claims on a cluster the newest stays."""
    op.create_table(
        "cluster_claims",
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("dag_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("cluster", name=op.f("pk_cluster_claims")),
    )
    op.execute(_NEWEST)
    op.drop_table("training_claims")
