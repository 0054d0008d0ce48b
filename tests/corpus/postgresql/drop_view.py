# expect: drop-view breaks-old-code
"""Old code may read it."""

from alembic import op

revision = "drop_view"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP VIEW active_users")


def downgrade() -> None:
    op.execute("CREATE VIEW active_users AS SELECT id, email FROM users WHERE active")
