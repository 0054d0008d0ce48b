# expect: nothing
"""Duplicates that are there stop it."""

from alembic import op

revision = "unique_index"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ux_users_nick", "users", ["nick"], unique=True)


def downgrade() -> None:
    op.drop_index("ux_users_nick", "users")
