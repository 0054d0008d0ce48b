"""All revisions of the folder shop in one, under the id of the last.

A database that is at that id has nothing to do; a new one gets everything at once. One that is
behind has a revision that no file has any more: upgrade it with the release before. So squash
what every database has, not what was written last week.
Autogenerate against an empty database writes the first draft of such a file. It leaves out what
it does not know: triggers, functions, rows.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "merge_phone_and_note"
down_revision: str | Sequence[str] | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

STATES = ("new", "paid", "refunded")


def upgrade() -> None:
    dialect = op.get_context().dialect.name
    if dialect == "postgresql":
        op.execute("CREATE TYPE shop_state AS ENUM ('new', 'paid', 'refunded')")
    state = sa.Enum(*STATES, name="shop_state").with_variant(
        postgresql.ENUM(name="shop_state", create_type=False), "postgresql"
    )
    attributes = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    total = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    checks = [
        sa.CheckConstraint("state IN ('new', 'paid', 'refunded')", name="ck_shop_order_state")
    ]
    op.create_table(
        "shop_customer",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("full_name", sa.String(200)),
        sa.Column("note", sa.Text),
        sa.Column("phone", sa.String(40)),
        sa.PrimaryKeyConstraint("id", name="pk_shop_customer"),
    )
    op.create_table(
        "shop_order",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("customer_id", sa.Integer, nullable=False),
        sa.Column("total_cents", total, nullable=False),
        sa.Column("state", state, server_default="new", nullable=False),
        sa.Column("attributes", attributes),
        sa.PrimaryKeyConstraint("id", name="pk_shop_order"),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["shop_customer.id"], name="fk_shop_order_customer_id_shop_customer"
        ),
        *(checks if dialect == "sqlite" else []),
    )
    op.create_index("ix_shop_order_customer_id", "shop_order", ["customer_id"])
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
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP TYPE shop_state")
