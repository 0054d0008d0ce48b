# expect: drop-column data-loss, rename-column breaks-old-code
"""A column takes the name of one that goes, in one statement."""

import sqlalchemy as sa
from alembic import op

revision = "swap_columns"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users DROP COLUMN nick, RENAME COLUMN name TO nick")


def downgrade() -> None:
    op.alter_column("users", "nick", new_column_name="name", existing_type=sa.String(20))
    op.add_column("users", sa.Column("nick", sa.String(20)))
