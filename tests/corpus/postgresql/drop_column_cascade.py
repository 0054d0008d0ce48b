# expect: drop-column data-loss, drop-index brief-lock, drop-view breaks-old-code
"""The view goes with the column."""

from alembic import op

revision = "drop_column_cascade"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users DROP COLUMN email CASCADE")


def downgrade() -> None:
    op.execute("ALTER TABLE users ADD COLUMN email varchar(50)")
    op.execute("CREATE VIEW active_users AS SELECT id, email FROM users WHERE active")
