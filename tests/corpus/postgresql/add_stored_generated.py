# expect: add-column-rewrite blocks
"""A stored generated column is computed for every row."""

import sqlalchemy as sa
from alembic import op

revision = "add_stored_generated"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "orders", sa.Column("cents", sa.Integer, sa.Computed("number * 100", persisted=True))
    )


def downgrade() -> None:
    op.drop_column("orders", "cents")
