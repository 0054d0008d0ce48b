# expect: index-not-concurrent blocks
"""Writers wait until the index is built."""

from alembic import op

revision = "index_plain"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_users_name", "users", ["name"])


def downgrade() -> None:
    op.drop_index("ix_users_name", "users")
