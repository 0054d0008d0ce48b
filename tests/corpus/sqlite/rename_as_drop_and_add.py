# expect: rename-as-drop-and-add data-loss
"""What autogenerate makes of a rename."""

import sqlalchemy as sa
from alembic import op

revision = "rename_as_drop_and_add"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("handle", sa.String(20)))
    op.drop_column("users", "nick")


def downgrade() -> None:
    op.add_column("users", sa.Column("nick", sa.String(20)))
    op.drop_column("users", "handle")
