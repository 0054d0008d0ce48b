# expect: nothing
"""Beside the running writers."""

from alembic import op

revision = "safe_drop_index_concurrently"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index("ix_users_email", "users", postgresql_concurrently=True)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.create_index("ix_users_email", "users", ["email"], postgresql_concurrently=True)
