# expect: nothing
"""The catalog only."""

from alembic import op

revision = "safe_defaults_and_comments"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("users", "age", server_default="0")
    op.alter_column("users", "age", server_default=None)
    op.alter_column("users", "email", nullable=True)
    op.create_table_comment("users", "people")


def downgrade() -> None:
    op.drop_table_comment("users")
    op.alter_column("users", "email", nullable=False)
