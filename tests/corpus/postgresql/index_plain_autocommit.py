# expect: index-not-concurrent blocks
"""Outside of a transaction, but not concurrently."""

from alembic import op

revision = "index_plain_autocommit"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.create_index("ix_users_name", "users", ["name"])


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index("ix_users_name", "users")
