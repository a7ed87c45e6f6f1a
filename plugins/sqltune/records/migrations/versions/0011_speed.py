"""How fast a model answered in a run."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; evaluations from before have no speed."""
    op.add_column("evaluations", sa.Column("speed", sa.JSON(), nullable=True))
