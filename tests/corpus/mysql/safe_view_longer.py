# expect: nothing
"""What was there stays, under its name."""

from alembic import op

revision = "safe_view_longer"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE OR REPLACE VIEW active_users AS SELECT id, email, nick FROM users")


def downgrade() -> None:
    op.execute("CREATE OR REPLACE VIEW active_users AS SELECT id, email FROM users")
