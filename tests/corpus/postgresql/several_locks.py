# expect: several-locks brief-lock
"""Two strong locks in one transaction: an order, and a deadlock with others."""

import sqlalchemy as sa
from alembic import op

revision = "several_locks"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("phone", sa.Text))
    op.add_column("orders", sa.Column("phone", sa.Text))


def downgrade() -> None:
    op.drop_column("orders", "phone")
    op.drop_column("users", "phone")
