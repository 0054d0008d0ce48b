# expect: nothing
"""In place, while writers go on; MySQL has no better form."""

import sqlalchemy as sa
from alembic import op

revision = "safe_set_not_null"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("users", "age", existing_type=sa.Integer, nullable=False)


def downgrade() -> None:
    op.alter_column("users", "age", existing_type=sa.Integer, nullable=True)
