# expect: cluster blocks
"""Writes the table again, in another order."""

from alembic import op

revision = "cluster"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CLUSTER users USING ix_users_email")


def downgrade() -> None:
    pass
