"""Three tables, as they were before the changes that the other revisions show.

Every constraint has a name: what has none cannot be dropped later, and SQLite's batch mode would
lose it.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "shop"
down_revision: str | Sequence[str] | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "shop_customer",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(200)),
        sa.Column("email", sa.String(320)),
        sa.PrimaryKeyConstraint("id", name="pk_shop_customer"),
    )
    op.create_table(
        "shop_order",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("customer_id", sa.Integer, nullable=False),
        sa.Column("total_cents", sa.Integer, nullable=False),
        sa.Column("status", sa.String(20), server_default="new", nullable=False),
        sa.Column("details", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_shop_order"),
    )
    op.create_table(
        "shop_line",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("order_id", sa.Integer, nullable=False),
        sa.Column("product", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_shop_line"),
        sa.ForeignKeyConstraint(
            ["order_id"],
            ["shop_order.id"],
            name="fk_shop_line_order_id_shop_order",
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    op.drop_table("shop_line")
    op.drop_table("shop_order")
    op.drop_table("shop_customer")
