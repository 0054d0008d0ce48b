# expect: delete-rows data-loss
"""Rows that another table names."""

from alembic import op

revision = "merge_deletes"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("MERGE INTO settings s USING users u ON s.key = u.email WHEN MATCHED THEN DELETE")


def downgrade() -> None:
    pass
