# expect: does-not-run fails
"""Nor ADD CONSTRAINT."""

from alembic import op

revision = "constraint_without_batch"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_unique_constraint("uq_users_nick", "users", ["nick"])


def downgrade() -> None:
    op.drop_constraint("uq_users_nick", "users")
