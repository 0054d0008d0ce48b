# expect: downgrade-raises irreversible
"""A downgrade that says so."""

import sqlalchemy as sa
from alembic import op

revision = "downgrade_raises"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("phone", sa.Text))


def downgrade() -> None:
    raise NotImplementedError("no way back")
