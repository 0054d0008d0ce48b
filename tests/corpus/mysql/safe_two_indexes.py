# expect: nothing
"""Both while others write."""

from alembic import op

revision = "safe_two_indexes"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_users_nick", "users", ["nick"])
    op.create_index("ix_users_age", "users", ["age"])


def downgrade() -> None:
    op.drop_index("ix_users_age", "users")
    op.drop_index("ix_users_nick", "users")
