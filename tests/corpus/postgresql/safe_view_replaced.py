# expect: nothing
"""The name is there before and after."""

from alembic import op

revision = "safe_view_replaced"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP VIEW active_users")
    op.execute("CREATE VIEW active_users AS SELECT id, email, nick FROM users WHERE active")


def downgrade() -> None:
    op.execute("DROP VIEW active_users")
    op.execute("CREATE VIEW active_users AS SELECT id, email FROM users WHERE active")
