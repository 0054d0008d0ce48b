# expect: owner-changed breaks-old-code
"""Who owned it has no right to it."""

from alembic import op

revision = "owner_changed"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE visits OWNER TO CURRENT_USER")


def downgrade() -> None:
    op.execute("ALTER TABLE visits OWNER TO pg_monitor")
