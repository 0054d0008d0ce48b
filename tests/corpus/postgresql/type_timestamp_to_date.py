# expect: type-change-loses data-loss, type-change-rewrite blocks
"""The time of day is gone."""

import sqlalchemy as sa
from alembic import op

revision = "type_timestamp_to_date"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("users", "joined", type_=sa.Date(), postgresql_using="joined::date")


def downgrade() -> None:
    op.alter_column("users", "joined", type_=sa.DateTime())
