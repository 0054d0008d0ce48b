# expect: nothing
"""A column more, at the end."""

from alembic import op

revision = "safe_view_longer"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE OR REPLACE VIEW active_users AS SELECT id, email, name FROM users WHERE active"
    )


def downgrade() -> None:
    op.execute("DROP VIEW active_users")
    op.execute("CREATE VIEW active_users AS SELECT id, email FROM users WHERE active")
