"""The error class of each judged answer."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; answers that were judged before have none."""
    op.add_column("judgements", sa.Column("error_class", sa.Text(), nullable=True))
