# expect: add-column-rewrite blocks
"""The value is computed for each row."""

import sqlalchemy as sa
from alembic import op

revision = "add_stored_generated"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "users", sa.Column("age_twice", sa.Integer, sa.Computed("age * 2", persisted=True))
    )


def downgrade() -> None:
    op.drop_column("users", "age_twice")
