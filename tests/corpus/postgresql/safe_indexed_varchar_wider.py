# expect: nothing
"""The new entry of the index takes over the old one's file: nothing is built."""

import sqlalchemy as sa
from alembic import op

revision = "safe_indexed_varchar_wider"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("orders", "reference", existing_type=sa.String(20), type_=sa.String(40))


def downgrade() -> None:
    op.alter_column("orders", "reference", existing_type=sa.String(40), type_=sa.String(20))
