"""An index of the judgements by answer: the engines look for them when an answer is removed."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.create_index(op.f("ix_judgements_answer_id"), "judgements", ["answer_id"])
