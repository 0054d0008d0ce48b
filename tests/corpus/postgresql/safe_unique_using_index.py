# expect: nothing
"""The index first, concurrently."""

from alembic import op

revision = "safe_unique_using_index"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("CREATE UNIQUE INDEX CONCURRENTLY users_email_key ON users (email)")
    op.execute(
        "ALTER TABLE users ADD CONSTRAINT users_email_key UNIQUE USING INDEX users_email_key"
    )


def downgrade() -> None:
    op.drop_constraint("users_email_key", "users")
