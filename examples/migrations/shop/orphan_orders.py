"""A foreign key, step 2 of 3: a data migration gives the old orphans a customer.

It has tables of its own, with the columns that it needs. A model that is imported has the columns
of tomorrow: the day that one is added, this revision fails on every new database.
It may run twice: the stand-in is found again.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "orphan_orders"
down_revision: str | Sequence[str] | None = "order_customer_fk"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

EMAIL = "unknown-customer@example.invalid"
customer = sa.table(
    "shop_customer",
    sa.column("id", sa.Integer),
    sa.column("email", sa.String),
    sa.column("full_name", sa.String),
)
order = sa.table("shop_order", sa.column("customer_id", sa.Integer))


def upgrade() -> None:
    stand_in = sa.select(customer.c.id).where(customer.c.email == EMAIL).scalar_subquery()
    orphan = order.c.customer_id.not_in(sa.select(customer.c.id))
    row = sa.select(sa.literal(EMAIL), sa.literal("unknown customer"))
    # In SQL alone, without reading rows: it also works in `alembic upgrade --sql`.
    op.execute(
        sa.insert(customer).from_select(
            ["email", "full_name"],
            row.where(sa.exists().where(orphan), ~sa.exists().where(customer.c.email == EMAIL)),
        )
    )
    op.execute(sa.update(order).where(orphan).values(customer_id=stand_in))


def downgrade() -> None:
    """Nothing: whose orders they were is not known, and a customer harms nobody."""
