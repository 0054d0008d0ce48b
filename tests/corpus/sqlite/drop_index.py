# expect: nothing
"""A lookup that was quick is not any more."""

from alembic import op

revision = "drop_index"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_users_email", "users")


def downgrade() -> None:
    op.create_index("ix_users_email", "users", ["email"])
