# expect: type-change-rewrite blocks
"""Every value is checked and written again."""

import sqlalchemy as sa
from alembic import op

revision = "type_varchar_narrower"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("users", "city", type_=sa.String(30), existing_type=sa.String(50))


def downgrade() -> None:
    op.alter_column("users", "city", type_=sa.String(50), existing_type=sa.String(30))
