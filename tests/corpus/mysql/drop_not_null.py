# expect: nothing
"""All who write may go on."""

import sqlalchemy as sa
from alembic import op

revision = "drop_not_null"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("orders", "total", existing_type=sa.Integer, nullable=True)


def downgrade() -> None:
    op.alter_column("orders", "total", existing_type=sa.Integer, nullable=False)
