# expect: nothing
"""A person has decided, and says why."""

import sqlalchemy as sa
from alembic import op

revision = "safe_allowed"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # migration-review: allow[drop-column] nothing has read it since release 12
    op.drop_column("users", "nick")


def downgrade() -> None:
    op.add_column("users", sa.Column("nick", sa.String(20)))
