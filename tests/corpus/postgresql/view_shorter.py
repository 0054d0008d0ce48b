# expect: view-loses-column breaks-old-code
"""Made again without a column."""

from alembic import op

revision = "view_shorter"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP VIEW active_users")
    op.execute("CREATE VIEW active_users AS SELECT id FROM users WHERE active")


def downgrade() -> None:
    op.execute("DROP VIEW active_users")
    op.execute("CREATE VIEW active_users AS SELECT id, email FROM users WHERE active")
