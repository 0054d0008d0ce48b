# expect: downgrade-empty irreversible
"""No way back."""

import sqlalchemy as sa
from alembic import op

revision = "downgrade_pass"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("extra", sa.Integer))


def downgrade() -> None:
    pass
