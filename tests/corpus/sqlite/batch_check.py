# expect: table-rebuild blocks, trigger-lost drift
"""A CHECK copies the table."""

import sqlalchemy as sa
from alembic import op

revision = "batch_check"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("orders") as table:
        table.create_check_constraint("ck_orders_total", sa.text("total >= 0"))


def downgrade() -> None:
    with op.batch_alter_table("orders") as table:
        table.drop_constraint("ck_orders_total", type_="check")
