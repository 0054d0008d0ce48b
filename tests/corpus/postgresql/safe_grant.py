# expect: nothing
"""More rights."""

from alembic import op

revision = "safe_grant"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("GRANT SELECT ON items TO pg_monitor")


def downgrade() -> None:
    op.execute("REVOKE SELECT ON items FROM pg_monitor")
