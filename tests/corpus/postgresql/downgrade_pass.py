# expect: downgrade-empty irreversible
"""A downgrade that undoes nothing."""

import sqlalchemy as sa
from alembic import op

revision = "downgrade_pass"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("phone", sa.Text))


def downgrade() -> None:
    pass
