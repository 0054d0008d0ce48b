# expect: backfill-not-batched blocks
"""A range with one end is the whole table."""

import sqlalchemy as sa
from alembic import op

revision = "update_open_range"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sa.text("UPDATE users SET city = trim(city) WHERE id > 0"))


def downgrade() -> None:
    pass
