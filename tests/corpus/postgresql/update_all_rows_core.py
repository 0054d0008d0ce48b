# expect: update-all-rows blocks
"""The same by SQLAlchemy."""

import sqlalchemy as sa
from alembic import op

revision = "update_all_rows_core"
down_revision = "before"
branch_labels = None
depends_on = None

USERS = sa.table("users", sa.column("nick"))


def upgrade() -> None:
    op.get_bind().execute(USERS.update().values(nick="x"))


def downgrade() -> None:
    pass
