# expect: drop-index brief-lock
"""A strong lock on the table, for a moment."""

from alembic import op

revision = "index_drop_plain"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_users_email", "users")


def downgrade() -> None:
    op.create_index("ix_users_email", "users", ["email"])
